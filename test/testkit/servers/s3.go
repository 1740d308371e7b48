package servers

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
)

// S3AccessKey, S3SecretKey and S3Region open every S3 server that this package starts.
const (
	S3AccessKey = "offline"
	S3SecretKey = "offline-secret"
	S3Region    = "us-east-1"
)

const healthPath = "/-/health"

func s3Args(listen, dir string) []string {
	return []string{
		"--port", listen, "--access", S3AccessKey, "--secret", S3SecretKey, "--region", S3Region,
		"--health", healthPath, "--quiet", "--keep-alive", "posix", dir,
	}
}

// StartS3 runs an S3 server (versitygw) on files in dir, which must be on a file system with extended attributes.
func StartS3(ctx context.Context, o Options, dir string) (*Server, error) {
	image, err := o.pick(ctx, S3)
	if err != nil {
		return nil, err
	}
	return begin(ctx, dir, func(port int, dir string) (*Server, error) {
		server := &Server{Kind: S3, Addr: "http://" + address(port)}
		if image != "" {
			server.How = "container " + image
			server.probe = s3Probe(server.Addr, "versitygw")
			server.run = &container{
				image: image, port: port, inside: 7070, volumes: []string{"/data"}, command: s3Args(":"+strconv.Itoa(7070), "/data"),
			}
			return server, nil
		}
		program := filepath.Join(o.cache(), "bin", "versitygw")
		if _, err := os.Stat(program); err != nil {
			return nil, missing("versitygw", program)
		}
		data := filepath.Join(dir, "data")
		if err := os.Mkdir(data, 0o750); err != nil {
			return nil, fmt.Errorf("make data folder: %w", err)
		}
		server.How = "process"
		server.probe = s3Probe(server.Addr, "versitygw "+builtVersion(program))
		server.run = &process{
			program: program, args: s3Args(address(port), data), dir: dir, log: filepath.Join(dir, "server.log"),
		}
		return server, nil
	})
}

// builtVersion reads the version that the Go tool wrote into the program.
func builtVersion(program string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return "unknown"
	}
	return info.Main.Version
}

func s3Probe(endpoint, version string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+healthPath, http.NoBody)
		if err != nil {
			return "", fmt.Errorf("ask health: %w", err)
		}
		request.Close = true
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return "", fmt.Errorf("ask health: %w", err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return "", fmt.Errorf("ask health: %s", response.Status)
		}
		return version, nil
	}
}
