package ecs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

// clients send requests through the load balancer without a pause, each of which takes a moment at its task.
type clients struct {
	stop     chan struct{}
	done     sync.WaitGroup
	answered atomic.Int64
	mu       sync.Mutex
	failures []string
}

func startClients(r *rig, count int) *clients {
	c := &clients{stop: make(chan struct{})}
	url := "http://" + network.HostPort(r.balancer.Address(balancerARN), 8080) + "/pay?wait=5ms"
	for range count {
		c.done.Go(func() {
			client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := 0; ; n++ {
				select {
				case <-c.stop:
					return
				default:
				}
				if err := request(client, url, n); err != nil {
					c.mu.Lock()
					c.failures = append(c.failures, err.Error())
					c.mu.Unlock()
				}
				c.answered.Add(1)
			}
		})
	}
	return c
}

// request is a GET or, every other time, a POST with a body, which nobody may send twice.
func request(client *http.Client, url string, n int) error {
	method, body := http.MethodGet, io.Reader(nil)
	if n%2 == 1 {
		method, body = http.MethodPost, strings.NewReader(`{"amount": 1}`)
	}
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// more waits until the clients have got that many more answers, and wants no failure among all so far.
func (c *clients) more(t *testing.T, during string, count int64) {
	t.Helper()
	until := c.answered.Load() + count
	eventually(t, "requests are answered "+during, func() error {
		if n := c.answered.Load(); n < until {
			return fmt.Errorf("%d of %d", n, until)
		}
		return nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failures) > 0 {
		t.Fatalf("%d of %d requests failed %s, the first with %s", len(c.failures), c.answered.Load(), during, c.failures[0])
	}
}

// TestNoRequestIsDropped: new tasks serve before old ones leave, and those that leave finish what they have.
func TestNoRequestIsDropped(t *testing.T) {
	r := running(t, func(top *topology.Topology) {
		top.TargetGroups[0].DeregistrationDelay = time.Hour // however slow this machine is, a request may end
	})
	good := r.service(t, appService).TaskDefinitionARN
	c := startClients(r, 6)
	defer func() {
		close(c.stop)
		c.done.Wait()
	}()
	c.more(t, "before anything happens", 20)

	r.update(t, appService, Update{ForceNewDeployment: true})
	r.awaitSteady(t)
	c.more(t, "in a forced deployment", 20)

	r.update(t, appService, Update{TaskDefinition: r.revision(t, "better").ARN})
	r.awaitSteady(t)
	c.more(t, "in a deployment of a new revision", 20)
	if got := r.service(t, appService).TaskDefinitionARN; got == good {
		t.Error("the old revision still runs")
	}

	for _, kind := range []string{"crash", "sick"} {
		failed := r.update(t, appService, Update{TaskDefinition: r.revision(t, kind).ARN}).Deployments[0].ID
		r.awaitEvent(t, "(deployment "+failed+") deployment failed: tasks failed to start.")
		r.awaitSteady(t)
		c.more(t, "while a bad image ("+kind+") was tried and taken back", 20)
	}

	for _, count := range []int{4, 2} {
		r.update(t, appService, Update{DesiredCount: ptr(count)})
		r.awaitSteady(t)
		c.more(t, fmt.Sprintf("while the service was scaled to %d", count), 20)
	}
	if _, err := r.StopTask(context.Background(), testRegion, testCluster, r.active(t, appService)[0].ARN, ""); err != nil {
		t.Fatal(err)
	}
	r.awaitSteady(t)
	c.more(t, "while a task was stopped and replaced", 20)
	t.Logf("%d requests, all answered", c.answered.Load())
}
