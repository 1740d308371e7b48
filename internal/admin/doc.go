// Package admin serves what operators and orchestrators ask a process for:
//
//	/metrics  for Prometheus
//	/healthz  200 while the process works; 503 means: restart it
//	/readyz   200 while it takes work; 503 with the reasons as JSON
//
// It has no login and changes nothing: it belongs on loopback, which is the
// default, or into a network of its own. Requests under a host name that was
// not allowed are refused, so that no web page can read it by pointing a name
// of its own at it.
package admin
