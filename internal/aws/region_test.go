package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder answers every request with what answer returns and keeps what was asked.
type recorder struct {
	mu     sync.Mutex
	asked  []asked
	answer func(a asked) (status int, contentType, body string)
}

type asked struct {
	action, scope string
	form          url.Values
	json          map[string]any
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	a := asked{}
	if parts := strings.Split(req.Header.Get("Authorization"), "/"); len(parts) > 3 {
		a.scope = parts[2] + "/" + parts[3]
	}
	if target := req.Header.Get("X-Amz-Target"); target != "" {
		_, a.action, _ = strings.Cut(target, ".")
		_ = json.NewDecoder(req.Body).Decode(&a.json)
	} else {
		_ = req.ParseForm()
		a.form, a.action = req.PostForm, req.PostForm.Get("Action")
	}
	r.mu.Lock()
	r.asked = append(r.asked, a)
	r.mu.Unlock()
	status, contentType, body := r.answer(a)
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

func xmlAnswer(action, inner string) (int, string, string) {
	return http.StatusOK, "text/xml", fmt.Sprintf("<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>", action, inner)
}

const member = "<GlobalClusterMember><DBClusterArn>arn:aws:rds:%s:1:cluster:c</DBClusterArn><IsWriter>%t</IsWriter></GlobalClusterMember>"

func globalXML(state string, eastWrites, westWrites bool) string {
	return "<GlobalClusters><GlobalClusterMember><GlobalClusterIdentifier>g</GlobalClusterIdentifier><Status>available</Status>" +
		"<GlobalClusterMembers>" + fmt.Sprintf(member, "us-east-1", eastWrites) + fmt.Sprintf(member, "us-west-2", westWrites) +
		"</GlobalClusterMembers>" + state + "</GlobalClusterMember></GlobalClusters>"
}

func moveTo(target, status, loss string) string {
	return "<FailoverState><Status>" + status + "</Status><ToDbClusterArn>" + target + "</ToDbClusterArn>" + loss + "</FailoverState>"
}

func TestGlobalCluster(t *testing.T) {
	const east, west = "arn:aws:rds:us-east-1:1:cluster:c", "arn:aws:rds:us-west-2:1:cluster:c"
	for _, c := range []struct {
		name, inner, writer string
		moving              bool
		switchingTo         string
	}{
		{"quiet", globalXML("", true, false), east, false, ""},
		{"other writer", globalXML("", false, true), west, false, ""},
		{"switching over", globalXML(moveTo(west, "switching-over", "<IsDataLossAllowed>false</IsDataLossAllowed>"), true, false), east, true, west},
		{"switching over, and nobody says that nothing is lost", globalXML(moveTo(west, "switching-over", ""), true, false), east, true, ""},
		{"failing over", globalXML(moveTo(west, "failing-over", "<IsDataLossAllowed>true</IsDataLossAllowed>"), true, false), east, true, ""},
		{"pending", globalXML("<FailoverState><Status>pending</Status></FailoverState>", true, false), east, true, ""},
		{"state left over", globalXML("<FailoverState></FailoverState>", true, false), east, false, ""},
		{"two writers is nobody", globalXML("", true, true), "", false, ""},
		{"no writer", globalXML("", false, false), "", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{answer: func(a asked) (int, string, string) { return xmlAnswer(a.action, c.inner) }}
			g, err := session(t, r).Databases("us-west-2").GlobalCluster(context.Background(), "g")
			if err != nil {
				t.Fatal(err)
			}
			if g.Writer() != c.writer || g.Moving != c.moving || g.SwitchingTo != c.switchingTo {
				t.Errorf("writer %q, moving %t, switching to %q; want %q, %t, %q", g.Writer(), g.Moving, g.SwitchingTo, c.writer, c.moving, c.switchingTo)
			}
			if !g.HasMember(west) || g.HasMember("arn:other") {
				t.Errorf("members %v", g.Members)
			}
			if r.asked[0].scope != "us-west-2/rds" || r.asked[0].form.Get("GlobalClusterIdentifier") != "g" {
				t.Errorf("asked %+v", r.asked[0])
			}
		})
	}
}

// TestMovesAreSentOnce: a promotion that is answered by an error, even a retryable one, must not be sent again by the
// SDK: by then the trust may be over.
func TestMovesAreSentOnce(t *testing.T) {
	r := &recorder{answer: func(asked) (int, string, string) {
		return http.StatusServiceUnavailable, "text/xml", "<ErrorResponse><Error><Code>ServiceUnavailable</Code></Error></ErrorResponse>"
	}}
	d := session(t, r).Databases("us-west-2")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := d.Failover(ctx, "g", "arn:target"); err == nil {
		t.Error("Failover reported success")
	}
	if err := d.Switchover(ctx, "g", "arn:target"); err == nil {
		t.Error("Switchover reported success")
	}
	if len(r.asked) != 2 {
		t.Fatalf("%d requests, want 2", len(r.asked))
	}
	if f := r.asked[0]; f.action != "FailoverGlobalCluster" || f.form.Get("AllowDataLoss") != "true" || f.form.Get("TargetDbClusterIdentifier") != "arn:target" || f.form.Get("Switchover") != "" {
		t.Errorf("failover asked %+v", f)
	}
	if s := r.asked[1]; s.action != "SwitchoverGlobalCluster" || s.form.Get("TargetDbClusterIdentifier") != "arn:target" {
		t.Errorf("switchover asked %+v", s)
	}
}

// TestDenied: what a policy refuses is told from what is only not possible now.
func TestDenied(t *testing.T) {
	for code, denied := range map[string]bool{"AccessDenied": true, "UnauthorizedOperation": true, "InvalidGlobalClusterStateFault": false} {
		r := &recorder{answer: func(asked) (int, string, string) {
			return http.StatusForbidden, "text/xml", "<ErrorResponse><Error><Type>Sender</Type><Code>" + code + "</Code></Error></ErrorResponse>"
		}}
		err := session(t, r).Databases("us-east-1").Switchover(context.Background(), "g", "arn:target")
		if err == nil || Denied(err) != denied {
			t.Errorf("%s: denied %t, error %v", code, Denied(err), err)
		}
	}
	if Denied(nil) || Denied(context.DeadlineExceeded) {
		t.Error("an error without a code counts as denied")
	}
}

func TestMovesEndWithTheirContext(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	r := &recorder{answer: func(asked) (int, string, string) {
		<-release
		return http.StatusOK, "text/xml", ""
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	s := session(t, r)
	began := time.Now()
	if err := s.Databases("us-west-2").Failover(ctx, "g", "arn"); err == nil {
		t.Error("a call that was never answered succeeded")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the call took %v past its deadline", took)
	}
}

func TestTargetHealth(t *testing.T) {
	const description = "<member><Target><Id>10.0.0.%d</Id><Port>8080</Port></Target><TargetHealth><State>%s</State></TargetHealth></member>"
	inner := "<TargetHealthDescriptions>" + fmt.Sprintf(description, 1, "healthy") + fmt.Sprintf(description, 2, "unhealthy") +
		fmt.Sprintf(description, 3, "draining") + fmt.Sprintf(description, 4, "healthy") + "</TargetHealthDescriptions>"
	r := &recorder{answer: func(a asked) (int, string, string) { return xmlAnswer(a.action, inner) }}
	targets, err := session(t, r).Balancers("us-east-1").TargetHealth(context.Background(), "arn:tg")
	if err != nil {
		t.Fatal(err)
	}
	if Healthy(targets) != 2 || len(targets) != 4 || targets[0].ID != "10.0.0.1" || targets[0].Port != 8080 {
		t.Errorf("targets %+v", targets)
	}
	if r.asked[0].scope != "us-east-1/elasticloadbalancing" {
		t.Errorf("asked %+v", r.asked[0])
	}
}

func TestServiceAndScale(t *testing.T) {
	services := `{"services":[{"serviceName":"s","status":"ACTIVE","desiredCount":2,"runningCount":1,"pendingCount":1,"taskDefinition":"td"}]}`
	r := &recorder{answer: func(a asked) (int, string, string) {
		if a.action == "DescribeServices" {
			return http.StatusOK, "application/x-amz-json-1.1", services
		}
		return http.StatusOK, "application/x-amz-json-1.1", "{}"
	}}
	s := session(t, r).Services("us-west-2")
	ctx := context.Background()
	got, err := s.Service(ctx, "c", "s")
	if want := (Service{Name: "s", Status: "ACTIVE", Desired: 2, Running: 1, Pending: 1, TaskDefinitionARN: "td"}); err != nil || got != want {
		t.Errorf("service %+v, %v; want %+v", got, err, want)
	}
	for tasks, want := range map[int][]string{
		2: {"RegisterScalableTarget", "DescribeServices"},
		5: {"RegisterScalableTarget", "DescribeServices", "UpdateService"},
	} {
		r.asked = nil
		if err := s.Scale(ctx, "c", "s", tasks); err != nil {
			t.Fatal(err)
		}
		var actions []string
		for _, a := range r.asked {
			actions = append(actions, a.action)
		}
		if !reflect.DeepEqual(actions, want) {
			t.Errorf("scaling to %d asked %v, want %v", tasks, actions, want)
		}
		if r.asked[0].json["MinCapacity"] != float64(tasks) || r.asked[0].json["ResourceId"] != "service/c/s" {
			t.Errorf("the minimum was set by %v", r.asked[0].json)
		}
	}
	ok := r.answer
	r.asked, r.answer = nil, func(a asked) (int, string, string) {
		if a.action == "RegisterScalableTarget" {
			return http.StatusBadRequest, "application/x-amz-json-1.1", `{"__type":"ValidationException","message":"no floor"}`
		}
		return ok(a)
	}
	if err := s.Scale(ctx, "c", "s", 5); err == nil || !strings.Contains(err.Error(), "no floor") {
		t.Errorf("without a floor: %v", err)
	}
	if last := r.asked[len(r.asked)-1]; last.action != "UpdateService" || last.json["desiredCount"] != float64(5) {
		t.Errorf("without a floor the count was not raised: asked %+v last", last)
	}
	r.answer = ok
	services = `{"services":[],"failures":[{"arn":"s","reason":"MISSING"}]}`
	if _, err := s.Service(ctx, "c", "s"); err == nil || !strings.Contains(err.Error(), "MISSING") {
		t.Errorf("a missing service: %v", err)
	}
}

func TestPassword(t *testing.T) {
	for secret, want := range map[string]string{
		`{\"username\":\"u\",\"password\":\"p w\"}`: "p w",
		"plain": "plain",
	} {
		r := &recorder{answer: func(asked) (int, string, string) {
			return http.StatusOK, "application/x-amz-json-1.1", `{"SecretString":"` + secret + `"}`
		}}
		got, err := session(t, r).Secrets("us-east-1").Password(context.Background(), "arn:s")
		if err != nil || got != want {
			t.Errorf("secret %s: %q, %v; want %q", secret, got, err, want)
		}
	}
	r := &recorder{answer: func(asked) (int, string, string) {
		return http.StatusOK, "application/x-amz-json-1.1", `{"SecretString":"{\"hidden\":\"value-of-secret\"}"}`
	}}
	if _, err := session(t, r).Secrets("us-east-1").Password(context.Background(), "arn:s"); err == nil || strings.Contains(err.Error(), "value-of-secret") {
		t.Errorf("a secret without a password: %v", err)
	}
}
