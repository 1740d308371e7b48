package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

const module = "github.com/offline-nodes/offline-nodes"

// programs are the two that the demo runs.
type programs struct{ offlineNode, dataNode string }

// findPrograms takes this program and the data node beside it. Where there is
// none (go run, go test), both are built into a folder first.
func findPrograms(ctx context.Context, dir string, building func()) (programs, error) {
	self, err := os.Executable()
	if err != nil {
		return programs{}, fmt.Errorf("find own program: %w", err)
	}
	found := programs{self, filepath.Join(filepath.Dir(self), "data-node"+extension())}
	if name(self) == "offline-node" && isFile(found.dataNode) {
		return found, nil
	}
	building()
	return build(ctx, dir)
}

// build needs the module's source tree as the current folder.
func build(ctx context.Context, dir string) (programs, error) {
	var said bytes.Buffer
	command := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), module+"/cmd/offline-node", module+"/cmd/data-node")
	command.Stdout, command.Stderr = &said, &said
	if err := command.Run(); err != nil {
		if ctx.Err() != nil {
			return programs{}, context.Cause(ctx)
		}
		return programs{}, fmt.Errorf("build offline-node and data-node: %w\n%s\n%w", err, strings.TrimSpace(said.String()), errBuild)
	}
	return programs{filepath.Join(dir, "offline-node"+extension()), filepath.Join(dir, "data-node"+extension())}, nil
}

var errBuild = errors.New("put data-node beside offline-node (make build), or run the demo in the source tree")

func name(path string) string { return strings.TrimSuffix(filepath.Base(path), extension()) }

func extension() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
