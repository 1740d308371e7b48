#!/usr/bin/env bash
# Installs what only the comparison with other systems needs: PostgreSQL, on a Debian machine.
# NO_INSTALL=1 only says what is missing.
set -euo pipefail

if command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
  exit 0
fi
echo 'deps: missing Debian package: postgresql'
if [ -n "${NO_INSTALL:-}" ]; then
  echo 'deps: NO_INSTALL is set, so nothing is installed'
  exit 1
fi
if ! command -v apt-get >/dev/null; then
  echo 'deps: there is no apt-get here: install PostgreSQL by other means'
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
"${sudo[@]}" apt-get update -q
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends postgresql
