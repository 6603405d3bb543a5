package api

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// What stands around a call decides whether it takes effect, and whether its client hears of it.
func TestCallIsLostBeforeOrAfterItsEffect(t *testing.T) {
	for name, c := range map[string]struct {
		makes bool
		items int
	}{
		"before its effect": {makes: false, items: 0},
		"after its effect":  {makes: true, items: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackends(t)
			var seen Arrival
			e := newEndpoint(t, b, func(o *Options) {
				o.Around = func(_ context.Context, a Arrival, call func() (any, error)) (any, error) {
					seen = a
					if c.makes {
						if _, err := call(); err != nil {
							t.Error(err)
						}
					}
					return nil, ErrLost
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			in := putItem(b, "lost")
			_, err := dynamodb.NewFromConfig(sdkConfig(t, serve(t, e, west), east)).PutItem(ctx, in)
			noAnswer(t, "the write", err)
			if n := b.table.Len(); n != c.items {
				t.Errorf("%d items, want %d", n, c.items)
			}
			got, ok := seen.Input.(*dynamodb.PutItemInput)
			if !ok || *got.TableName != *in.TableName || seen.CallerRegion != west || seen.Region != east || seen.Operation != "PutItem" {
				t.Errorf("seen: %+v", seen)
			}
		})
	}
}
