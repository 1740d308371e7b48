// Package compose_test keeps the files for Docker Compose in step with the programs, where no Docker is.
package compose_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/offline-nodes/offline-nodes/internal/config"
)

type service struct {
	Image       string
	Environment map[string]string
	Command     []string
	Entrypoint  []string
	Volumes     []string
	DependsOn   map[string]any `yaml:"depends_on"`
	ReadOnly    bool           `yaml:"read_only"`
}

type file struct {
	Services map[string]service
	Volumes  map[string]any
}

// Programs refuse an OFFLINE_ variable that names no setting, so this finds every misspelled one.
func TestProgramsAcceptTheirEnvironment(t *testing.T) {
	for name, service := range programs(t) {
		t.Run(name, func(t *testing.T) {
			environ := []string{}
			for name, value := range service.Environment {
				environ = append(environ, name+"="+withDefaults(value))
			}
			settings, err := config.Load(config.Sources{Environ: environ})
			require.NoError(t, err)
			require.Equal(t, []string{"kafka:9092"}, settings.Kafka.Brokers)
			require.True(t, service.ReadOnly)
		})
	}
}

func TestEveryProgramHasAService(t *testing.T) {
	commands := []string{}
	for _, service := range programs(t) {
		commands = append(commands, slices.Concat(service.Entrypoint, service.Command)[0])
	}
	folders, err := os.ReadDir("../cmd")
	require.NoError(t, err)
	names := []string{}
	for _, folder := range folders {
		names = append(names, folder.Name())
	}
	require.ElementsMatch(t, names, commands)
}

func TestNamesThatServicesUseExist(t *testing.T) {
	compose := load(t)
	for name, service := range compose.Services {
		for other := range service.DependsOn {
			require.Contains(t, compose.Services, other, "service %s waits for it", name)
		}
		for _, volume := range service.Volumes {
			source, _, named := strings.Cut(volume, ":")
			switch {
			case strings.HasPrefix(source, "./"):
				require.FileExists(t, source)
			case named:
				require.Contains(t, compose.Volumes, source, "service %s mounts it", name)
			}
		}
	}
	require.Contains(t, compose.Services["data-node"].Environment["OFFLINE_TELEMETRY__OTLP_ENDPOINT"], "//otel-collector:4317")
	require.Contains(t, compose.Services, "otel-collector")
}

func TestPrometheusAsksWhereProgramsAnswer(t *testing.T) {
	var prometheus struct {
		Scrapes []struct {
			DNS []struct {
				Names []string
				Port  string
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	read(t, "prometheus.yml", &prometheus)
	asked := map[string]string{}
	for _, scrape := range prometheus.Scrapes {
		for _, found := range scrape.DNS {
			asked[found.Names[0]] = found.Port
		}
	}
	services := load(t).Services
	require.Equal(t, []string{"data-node", "offline-node"}, slices.Sorted(maps.Keys(asked)))
	for name, port := range asked {
		require.Equal(t, "0.0.0.0:"+port, services[name].Environment["OFFLINE_ADMIN__LISTEN"])
	}
}

func TestCollectorUsesWhatItDefines(t *testing.T) {
	var collector struct {
		Receivers, Processors, Exporters map[string]any
		Service                          struct {
			Pipelines map[string]struct{ Receivers, Processors, Exporters []string }
		}
	}
	read(t, "otel-collector.yml", &collector)
	require.Contains(t, collector.Service.Pipelines, "traces")
	for _, pipeline := range collector.Service.Pipelines {
		require.Subset(t, slices.Collect(maps.Keys(collector.Receivers)), pipeline.Receivers)
		require.Subset(t, slices.Collect(maps.Keys(collector.Processors)), pipeline.Processors)
		require.Subset(t, slices.Collect(maps.Keys(collector.Exporters)), pipeline.Exporters)
	}
}

// programs are the services that run an image of ours.
func programs(t *testing.T) map[string]service {
	t.Helper()
	services := load(t).Services
	maps.DeleteFunc(services, func(_ string, s service) bool { return !strings.Contains(s.Image, "OFFLINE_IMAGE") })
	require.Len(t, services, 4)
	return services
}

func load(t *testing.T) file {
	t.Helper()
	var compose file
	read(t, "compose.yml", &compose)
	return compose
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, into), name)
}

// withDefaults replaces ${NAME:-default} by the default, as Compose does when NAME is not set.
func withDefaults(value string) string {
	before, rest, found := strings.Cut(value, "${")
	if !found {
		return value
	}
	variable, after, _ := strings.Cut(rest, "}")
	_, fallback, _ := strings.Cut(variable, ":-")
	return before + fallback + withDefaults(after)
}
