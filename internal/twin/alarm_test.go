package twin_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"holdfast/internal/topology"
	"holdfast/internal/twin"
	"holdfast/internal/twin/api"
)

// alarmSpeed is near the highest that the deployment's lease allows. An alarm of two periods of five minutes takes 40 s
// then, and a minute's measurement is over 4 s, four hundred ticks of the kernel's clock.
var alarmSpeed = flag.Float64("alarm-speed", 15, "`speed` of the twin whose alarms are tested")

// watched is a twin with what an operator looks at it with.
type watched struct {
	*testing.T
	tw  *twin.Twin
	ctx context.Context
	// since is when the test began; came is when a state was first seen, after it.
	since time.Time
}

// TestEveryAlarmComesAndGoes drives every kind of alarm of the deployment into ALARM and back to OK by what it is there to
// notice, and reads the mail about both. The load on the database lasts while the other things happen.
func TestEveryAlarmComesAndGoes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	tw := bringUp(ctx, t, *alarmSpeed)
	w := &watched{T: t, tw: tw, ctx: ctx, since: time.Now()}
	first := tw.Sites()[0]
	standby := tw.Sites()[1]
	idle := w.burn(first.Name)
	defer idle()

	// The standby is cut off from the other site and from the term table's other regions.
	if _, err := tw.Inject(ctx, twin.Fault{Name: twin.IsolatedStandby, Site: standby.Name}); err != nil {
		t.Fatal(err)
	}
	isolated := []string{w.name("aurora-replication-lag", standby), w.name("term-table-getitem", standby), w.name("term-table-putitem", standby)}
	w.await(standby, types.StateValueAlarm, isolated...)
	if _, err := tw.ClearFault(ctx, twin.IsolatedStandby, ""); err != nil {
		t.Fatal(err)
	}

	// The standby's database servers hang.
	if err := tw.FreezeDatabases(standby.Name, true); err != nil {
		t.Fatal(err)
	}
	w.await(standby, types.StateValueAlarm, w.name("aurora-engine", standby))
	if err := tw.FreezeDatabases(standby.Name, false); err != nil {
		t.Fatal(err)
	}
	w.await(standby, types.StateValueOk, append(isolated, w.name("aurora-engine", standby))...)

	// The database has been busy for two periods.
	busy := w.name("aurora-cpu", first)
	w.await(first, types.StateValueAlarm, busy)
	idle()

	// The first site loses all its tasks, and the other one takes over.
	gone := []string{
		w.name("ecs-healthy-hosts", first), w.name("warden-healthy-hosts", first), w.name("route53-health-check", first),
		w.name("region-impaired", first),
	}
	standsBy := "route53-health-check-" + standby.Name + "-" + tw.Topology().Suffix // of us-east-1, as all of Route 53's
	w.awaitState(first, types.StateValueAlarm, standsBy)
	w.scale(first, 0)
	w.await(first, types.StateValueAlarm, gone...)
	waitServes(ctx, t, tw, standby.Name)
	w.awaitState(first, types.StateValueOk, standsBy)

	// Before it is back, the other one loses all its tasks too: no site serves.
	nobody := "no-site-serves-" + tw.Topology().Suffix
	w.scale(standby, 0)
	w.await(first, types.StateValueAlarm, nobody)
	w.scale(standby, 2)
	w.scale(first, 2)
	waitServes(ctx, t, tw, standby.Name)
	w.await(first, types.StateValueOk, nobody)
	if err := tw.RequestSwitchover(ctx, first.Name); err != nil {
		t.Fatal(err)
	}
	w.await(first, types.StateValueOk, append(gone, busy)...)
	w.eventMail("Global switchover to DB cluster", "finished")
	w.historyOf(first, gone[3])
}

// name is the name of a site's alarm.
func (w *watched) name(kind string, s topology.Site) string {
	return kind + "-" + s.Name + "-" + w.tw.Topology().Suffix
}

func (w *watched) config(s topology.Site) aws.Config {
	return aws.Config{
		Region: s.Region, BaseEndpoint: aws.String(w.tw.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider(api.AccessKeyID, api.SecretAccessKey, ""),
	}
}

// poll waits until a condition holds.
func (w *watched) poll(what string, check func() error) {
	w.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-w.ctx.Done():
			w.Fatalf("%s: never came true: %v", what, err)
		case <-tick.C:
		}
	}
}

// await waits until every one of a site's alarms is in a state, and there is mail about each.
func (w *watched) await(s topology.Site, state types.StateValue, names ...string) {
	w.Helper()
	w.awaitEach(s, state, names, func(name string) bool { return w.hasMail(string(state)+`: "`+name+`" in `+s.Region, "") })
}

// awaitState waits until an alarm that tells nobody is in a state.
func (w *watched) awaitState(s topology.Site, state types.StateValue, name string) {
	w.Helper()
	w.awaitEach(s, state, []string{name}, func(string) bool { return true })
}

func (w *watched) awaitEach(s topology.Site, state types.StateValue, names []string, told func(name string) bool) {
	w.Helper()
	client := cloudwatch.NewFromConfig(w.config(s))
	waiting := slices.Clone(names)
	w.poll(fmt.Sprintf("%v are %s", names, state), func() error {
		out, err := client.DescribeAlarms(w.ctx, &cloudwatch.DescribeAlarmsInput{
			AlarmNames: waiting, AlarmTypes: []types.AlarmType{types.AlarmTypeMetricAlarm, types.AlarmTypeCompositeAlarm},
		})
		if err != nil {
			return err
		}
		states := map[string][2]string{}
		for _, a := range out.MetricAlarms {
			states[*a.AlarmName] = [2]string{string(a.StateValue), *a.StateReason}
		}
		for _, a := range out.CompositeAlarms {
			states[*a.AlarmName] = [2]string{string(a.StateValue), *a.StateReason}
		}
		err = nil
		waiting = slices.DeleteFunc(waiting, func(name string) bool {
			if now := states[name]; now[0] != string(state) {
				err = fmt.Errorf("%s is %q: %s", name, now[0], now[1])
				return false
			}
			if !told(name) {
				err = fmt.Errorf("no mail says that %s is %s", name, state)
				return false
			}
			w.Logf("%5.1f s: %s is %s", time.Since(w.since).Seconds(), name, state)
			return true
		})
		return err
	})
}

// hasMail looks for a mail by its subject and a part of its body.
func (w *watched) hasMail(subject, text string) bool {
	w.Helper()
	files, err := filepath.Glob(filepath.Join(w.tw.Dir(), "mail", "*", "*.eml"))
	if err != nil {
		w.Fatal(err)
	}
	return slices.ContainsFunc(files, func(path string) bool {
		f, err := os.Open(path)
		if err != nil {
			w.Fatal(err)
		}
		defer f.Close()
		message, err := mail.ReadMessage(f)
		if err != nil {
			w.Fatalf("%s: %v", path, err)
		}
		body, err := io.ReadAll(message.Body)
		return err == nil && message.Header.Get("Subject") == subject && strings.Contains(string(body), text)
	})
}

// eventMail waits for a mail about an event of the databases.
func (w *watched) eventMail(texts ...string) {
	w.Helper()
	w.poll("mail about "+strings.Join(texts, " "), func() error {
		for _, text := range texts {
			if !w.hasMail("RDS Notification Message", text) {
				return errors.New("no such mail")
			}
		}
		return nil
	})
}

// burn keeps every processor that the site's database instances can have busy, until the returned function is called. Whoever
// else wants a processor goes first: an instance that waits for one counts as busy too.
func (w *watched) burn(site string) (stop func()) {
	w.Helper()
	var busy []*pgx.Conn
	var done sync.WaitGroup
	for _, dsn := range w.tw.DatabaseDSNs(site) {
		for range 3 {
			conn, err := pgx.Connect(w.ctx, dsn)
			if err != nil {
				w.Fatal(err)
			}
			busy = append(busy, conn)
			if err := yieldTo(int(conn.PgConn().PID())); err != nil {
				w.Fatal(err)
			}
			done.Go(func() {
				_, _ = conn.Exec(w.ctx, "select count(*) from (select generate_series(1, 1000000000000)) s") // until it is cancelled
			})
		}
	}
	return sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, conn := range busy {
			// The server does not notice that a client is gone while it works, so it has to be told.
			if err := conn.PgConn().CancelRequest(ctx); err != nil {
				w.Errorf("stop the load: %v", err)
			}
		}
		done.Wait()
		for _, conn := range busy {
			_ = conn.Close(ctx)
		}
	})
}

// yieldTo gives a process the lowest priority. Where the kernel shares the processors out among sessions first, which each
// process of PostgreSQL has its own of, its session needs that too (sched(7), "The autogroup feature").
func yieldTo(pid int) error {
	const lowest = 19
	if err := unix.Setpriority(unix.PRIO_PROCESS, pid, lowest); err != nil {
		return fmt.Errorf("lower the priority of process %d: %w", pid, err)
	}
	// Not every kernel has this, and one that has it may ask for patience; the load is only less polite then.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(strconv.Itoa(lowest)), 0)
	return nil
}

// scale sets the desired counts of both services of a site, as an operator would.
func (w *watched) scale(s topology.Site, count int32) {
	w.Helper()
	client := awsecs.NewFromConfig(w.config(s))
	for _, service := range []string{s.AppService, s.WardenService} {
		_, err := client.UpdateService(w.ctx, &awsecs.UpdateServiceInput{
			Cluster: &s.ECSClusterName, Service: aws.String(service), DesiredCount: aws.Int32(count),
		})
		if err != nil {
			w.Fatal(err)
		}
	}
}

// historyOf wants an alarm's coming and going in its history, with what it did about it.
func (w *watched) historyOf(s topology.Site, name string) {
	w.Helper()
	out, err := cloudwatch.NewFromConfig(w.config(s)).DescribeAlarmHistory(w.ctx, &cloudwatch.DescribeAlarmHistoryInput{
		AlarmName: &name, AlarmTypes: []types.AlarmType{types.AlarmTypeCompositeAlarm, types.AlarmTypeMetricAlarm},
	})
	if err != nil {
		w.Fatal(err)
	}
	for _, want := range []string{"Alarm updated from OK to ALARM", "Alarm updated from ALARM to OK", "Successfully executed action arn:aws:sns:"} {
		if !slices.ContainsFunc(out.AlarmHistoryItems, func(i types.AlarmHistoryItem) bool { return strings.HasPrefix(*i.HistorySummary, want) }) {
			w.Errorf("the history of %s lacks %q", name, want)
		}
	}
}
