package servers

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
)

// Where says how servers are run.
type Where string

// Auto takes containers when a Docker daemon answers and has the image already, else processes. Nothing is pulled.
const (
	Auto   Where = ""
	Local  Where = "local"
	Docker Where = "docker"
)

// Images that are looked for when the environment names no others.
const (
	DefaultImageKafka = "apache/kafka:4.4.0"
	DefaultImageRedis = "redis:7"
	DefaultImageS3    = "versity/versitygw:v1.8.0"
)

// KafkaVersion and VersityGWVersion are what `make deps` installs and what tests run against.
const (
	KafkaVersion     = "4.4.0"
	VersityGWVersion = "v1.8.0"
)

// Options say where servers come from. The zero value finds everything by itself.
type Options struct {
	Where Where
	// Cache is the folder with the programs that `make deps` puts there. Empty: see [CacheDir].
	Cache string
	// ImageKafka, ImageRedis and ImageS3 are names of images. Empty: the defaults above.
	ImageKafka, ImageRedis, ImageS3 string
}

// FromEnvironment reads OFFLINE_TEST_SERVERS (local, docker or nothing), OFFLINE_TEST_CACHE, OFFLINE_TEST_IMAGE_KAFKA,
// OFFLINE_TEST_IMAGE_REDIS and OFFLINE_TEST_IMAGE_S3.
func FromEnvironment() (Options, error) {
	o := Options{
		Where:      Where(os.Getenv("OFFLINE_TEST_SERVERS")),
		Cache:      os.Getenv("OFFLINE_TEST_CACHE"),
		ImageKafka: os.Getenv("OFFLINE_TEST_IMAGE_KAFKA"),
		ImageRedis: os.Getenv("OFFLINE_TEST_IMAGE_REDIS"),
		ImageS3:    os.Getenv("OFFLINE_TEST_IMAGE_S3"),
	}
	switch o.Where {
	case Auto, Local, Docker:
		return o, nil
	default:
		return Options{}, fmt.Errorf("OFFLINE_TEST_SERVERS is %q: it may be local, docker or empty", o.Where)
	}
}

// CacheDir is where `make deps` keeps what is not a package of the system: OFFLINE_TEST_CACHE, else offline-nodes in the
// user's cache folder, so that a second checkout downloads nothing again.
func CacheDir() string {
	if dir := os.Getenv("OFFLINE_TEST_CACHE"); dir != "" {
		return dir
	}
	user, err := os.UserCacheDir()
	if err != nil {
		user = os.TempDir()
	}
	return filepath.Join(user, "offline-nodes")
}

func (o Options) cache() string { return cmp.Or(o.Cache, CacheDir()) }

func (o Options) image(kind Kind) string {
	switch kind {
	case Kafka:
		return cmp.Or(o.ImageKafka, DefaultImageKafka)
	case Redis:
		return cmp.Or(o.ImageRedis, DefaultImageRedis)
	case S3:
		return cmp.Or(o.ImageS3, DefaultImageS3)
	default:
		return ""
	}
}
