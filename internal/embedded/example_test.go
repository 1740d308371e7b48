package embedded_test

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/offline-nodes/offline-nodes/internal/embedded"
)

func Example() {
	ctx := context.Background()
	servers, err := embedded.Start(ctx, embedded.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer servers.Stop()

	client := redis.NewClient(&redis.Options{Addr: servers.Addresses.Redis})
	defer client.Close()
	fmt.Println(client.Ping(ctx).Val())
	// Output: PONG
}
