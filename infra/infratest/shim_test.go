package infratest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// shim stands before moto_server. It answers the few calls that moto lacks, remembers which passwords are sent to the
// database, and can fail one call, as a network does.
type shim struct {
	moto http.Handler

	mu        sync.Mutex
	composite map[string]url.Values // by region and name
	backup    map[string]string     // by file system
	tags      map[string]any        // of scalable targets, by ARN
	passwords map[string][]string   // what CreateDBCluster and ModifyDBCluster sent, by cluster
	failOnce  map[string]bool       // clusters whose first creation fails
	members   []string              // of the global cluster, now
	deleted   []string              // clusters, in the order of their deletion
	gone      bool                  // the global cluster
}

func newShim(moto *url.URL) *shim {
	return &shim{
		moto:      httputil.NewSingleHostReverseProxy(moto),
		composite: map[string]url.Values{}, backup: map[string]string{}, tags: map[string]any{}, passwords: map[string][]string{}, failOnce: map[string]bool{},
	}
}

var (
	credentialScope = regexp.MustCompile(`Credential=[^/]+/[0-9]{8}/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request`)
	backupPolicy    = regexp.MustCompile(`^/2015-02-01/file-systems/(fs-[0-9a-z]+)/backup-policy$`)
)

// ServeHTTP implements [http.Handler].
func (s *shim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	region, service := "", ""
	if m := credentialScope.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		region, service = m[1], m[2]
	}
	s.mu.Lock()
	answered := s.answer(w, r, region, service, body)
	s.mu.Unlock()
	if !answered {
		s.moto.ServeHTTP(w, r)
	}
}

func (s *shim) answer(w http.ResponseWriter, r *http.Request, region, service string, body []byte) bool {
	form, _ := url.ParseQuery(string(body))
	switch service {
	case "elasticfilesystem":
		return s.answerBackupPolicy(w, r, body)
	case "monitoring":
		return s.answerCompositeAlarm(w, region, form)
	case "rds":
		return s.watchDatabase(w, form)
	case "application-autoscaling":
		return s.answerTags(w, r, body)
	}
	return false
}

// answerBackupPolicy: moto 5.2 has file systems without backup policies.
func (s *shim) answerBackupPolicy(w http.ResponseWriter, r *http.Request, body []byte) bool {
	m := backupPolicy.FindStringSubmatch(r.URL.Path)
	if m == nil {
		return false
	}
	var policy struct{ BackupPolicy struct{ Status string } }
	if r.Method == http.MethodPut {
		if err := json.Unmarshal(body, &policy); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return true
		}
		s.backup[m[1]] = policy.BackupPolicy.Status
	}
	policy.BackupPolicy.Status = s.backup[m[1]]
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(policy)
	return true
}

// answerTags: moto 5.2 keeps no tags of scalable targets, without which the provider never gets done.
func (s *shim) answerTags(w http.ResponseWriter, r *http.Request, body []byte) bool {
	var in struct {
		ResourceARN string
		Tags        any
	}
	switch r.Header.Get("X-Amz-Target") {
	case "AnyScaleFrontendService.RegisterScalableTarget":
		answer := httptest.NewRecorder()
		s.moto.ServeHTTP(answer, r)
		var out struct{ ScalableTargetARN string }
		if json.Unmarshal(body, &in) == nil && json.Unmarshal(answer.Body.Bytes(), &out) == nil && in.Tags != nil {
			s.tags[out.ScalableTargetARN] = in.Tags
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
		return true
	case "AnyScaleFrontendService.ListTagsForResource":
		if err := json.Unmarshal(body, &in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return true
		}
		tags := s.tags[in.ResourceARN]
		if tags == nil {
			tags = map[string]any{}
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(map[string]any{"Tags": tags})
		return true
	}
	return false
}

// answerCompositeAlarm: moto 5.2 knows metric alarms only.
func (s *shim) answerCompositeAlarm(w http.ResponseWriter, region string, form url.Values) bool {
	name := form.Get("AlarmName")
	if name == "" {
		name = form.Get("AlarmNames.member.1")
	}
	key := region + "/" + name
	switch action := form.Get("Action"); {
	case action == "PutCompositeAlarm":
		s.composite[key] = form
		writeXML(w, action, "")
	case action == "DescribeAlarms" && slices.Contains(members(form, "AlarmTypes"), "CompositeAlarm"):
		found := ""
		if alarm, has := s.composite[key]; has {
			found = compositeXML(region, alarm)
		}
		writeXML(w, action, "<CompositeAlarms>"+found+"</CompositeAlarms>")
	case action == "DeleteAlarms" && s.composite[key] != nil:
		delete(s.composite, key)
		writeXML(w, action, "")
	case action == "ListTagsForResource":
		alarm, has := s.composite[region+"/"+form.Get("ResourceARN")[strings.LastIndex(form.Get("ResourceARN"), ":")+1:]]
		if !has {
			return false
		}
		var tags strings.Builder
		for i := 1; alarm.Get(fmt.Sprintf("Tags.member.%d.Key", i)) != ""; i++ {
			fmt.Fprintf(&tags, "<member><Key>%s</Key><Value>%s</Value></member>",
				escaped(alarm.Get(fmt.Sprintf("Tags.member.%d.Key", i))), escaped(alarm.Get(fmt.Sprintf("Tags.member.%d.Value", i))))
		}
		writeXML(w, action, "<Tags>"+tags.String()+"</Tags>")
	default:
		return false
	}
	return true
}

// watchDatabase lets every call through but the one that is to fail and the ones that moto gets wrong, and remembers
// passwords and the order of things.
func (s *shim) watchDatabase(w http.ResponseWriter, form url.Values) bool {
	cluster := form.Get("DBClusterIdentifier")
	switch action := form.Get("Action"); action {
	case "CreateDBCluster":
		if s.failOnce[cluster] {
			delete(s.failOnce, cluster)
			refuse(w, "InvalidParameterCombination", "as the test wants it")
			return true
		}
		s.members = append(s.members, cluster)
		s.passwords[cluster] = append(s.passwords[cluster], form.Get("MasterUserPassword"))
	case "ModifyDBCluster":
		if form.Has("MasterUserPassword") {
			s.passwords[cluster] = append(s.passwords[cluster], form.Get("MasterUserPassword"))
		}
	case "DeleteDBCluster":
		s.members = slices.DeleteFunc(s.members, func(m string) bool { return m == cluster })
		s.deleted = append(s.deleted, cluster)
	case "AddTagsToResource":
		// moto 5.2 keeps no tags of global clusters, and refuses to be given any.
		if strings.Contains(form.Get("ResourceName"), ":global-cluster:") {
			writeXML(w, action, "")
			return true
		}
	case "DeleteGlobalCluster":
		// moto 5.2 never forgets a member of another region, so its global clusters cannot be deleted.
		if len(s.members) == 0 {
			s.gone = true
			writeXML(w, action, "<GlobalCluster><Status>deleting</Status></GlobalCluster>")
			return true
		}
	case "DescribeGlobalClusters":
		if s.gone {
			refuse(w, "GlobalClusterNotFoundFault", "it is deleted")
			return true
		}
	}
	return false
}

func refuse(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>", code, message)
}

func (s *shim) sent(cluster string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.passwords[cluster])
}

func (s *shim) deletions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.deleted)
}

func compositeXML(region string, alarm url.Values) string {
	list := func(name string) string {
		var b strings.Builder
		for _, m := range members(alarm, name) {
			b.WriteString("<member>" + escaped(m) + "</member>")
		}
		return "<" + name + ">" + b.String() + "</" + name + ">"
	}
	name := escaped(alarm.Get("AlarmName"))
	return "<member><AlarmName>" + name + "</AlarmName><AlarmArn>arn:aws:cloudwatch:" + region + ":123456789012:alarm:" + name +
		"</AlarmArn><AlarmDescription>" + escaped(alarm.Get("AlarmDescription")) + "</AlarmDescription><AlarmRule>" +
		escaped(alarm.Get("AlarmRule")) + "</AlarmRule><ActionsEnabled>true</ActionsEnabled>" +
		list("AlarmActions") + list("OKActions") + list("InsufficientDataActions") + "</member>"
}

func members(form url.Values, name string) []string {
	var all []string
	for i := 1; form.Has(fmt.Sprintf("%s.member.%d", name, i)); i++ {
		all = append(all, form.Get(fmt.Sprintf("%s.member.%d", name, i)))
	}
	return all
}

func escaped(s string) string {
	var b bytes.Buffer
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return ""
	}
	return b.String()
}

func writeXML(w http.ResponseWriter, action, result string) {
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, `<%[1]sResponse xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/"><%[1]sResult>%[2]s</%[1]sResult>`+
		`<ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata></%[1]sResponse>`, action, result)
}
