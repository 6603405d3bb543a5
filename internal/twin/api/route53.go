package api

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"holdfast/internal/topology"
)

// route is one resource of a REST service.
type route struct {
	method, path string // path parts in braces are parameters
	operation    string
	// input builds the operation's input from the path's parameters and the query.
	input func(path []string, q url.Values) (any, error)
}

// route finds the operation of a REST request.
func (s *service) route(r *http.Request) (operation, any, error) {
	unknown := gone("UnknownOperationException", "Unknown operation")
	for _, candidate := range s.routes {
		parameters, ok := matchPath(candidate.path, r.URL.EscapedPath())
		if !ok || candidate.method != r.Method {
			continue
		}
		o, ok := s.operations[candidate.operation]
		if !ok {
			return operation{}, nil, unknown
		}
		in, err := candidate.input(parameters, r.URL.Query())
		return o, in, err
	}
	return operation{}, nil, unknown
}

func matchPath(pattern, path string) (parameters []string, ok bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(strings.TrimSuffix(path, "/"), "/")
	if len(want) != len(have) {
		return nil, false
	}
	for i := range want {
		if !strings.HasPrefix(want[i], "{") {
			if want[i] != have[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(have[i])
		if err != nil || value == "" {
			return nil, false
		}
		parameters = append(parameters, value)
	}
	return parameters, true
}

func (e *Endpoint) route53Service() *service {
	s := &service{
		id: "route53", protocols: []protocol{restXML}, namespace: "https://route53.amazonaws.com/doc/2013-04-01/",
		version: "2013-04-01", style: r53Style, global: true,
		missing: mustNotBeNull("InvalidInput"), invalid: invalidWith("InvalidInput"),
		routes: route53Routes(),
	}
	if e.options.HealthChecks == nil {
		return s
	}
	s.operations = operations(
		op("ListHostedZones", e.listHostedZones),
		op("GetHostedZone", e.getHostedZone, "Id"),
		op("ListResourceRecordSets", e.listResourceRecordSets, "HostedZoneId"),
		op("ListHealthChecks", e.listHealthChecks),
		op("GetHealthCheck", e.getHealthCheck, "HealthCheckId"),
		op("GetHealthCheckStatus", e.getHealthCheckStatus, "HealthCheckId"),
	)
	return s
}

func route53Routes() []route {
	const zones, checks = "/2013-04-01/hostedzone", "/2013-04-01/healthcheck"
	return []route{
		{http.MethodGet, zones, "ListHostedZones", func(_ []string, q url.Values) (any, error) {
			n, err := maxItems(q)
			return &route53.ListHostedZonesInput{
				Marker: optional(q.Get("marker")), MaxItems: n, DelegationSetId: optional(q.Get("delegationsetid")),
				HostedZoneType: types.HostedZoneType(q.Get("hostedzonetype")),
			}, err
		}},
		{http.MethodGet, zones + "/{Id}", "GetHostedZone", func(p []string, _ url.Values) (any, error) {
			return &route53.GetHostedZoneInput{Id: &p[0]}, nil
		}},
		{http.MethodGet, zones + "/{Id}/rrset", "ListResourceRecordSets", func(p []string, q url.Values) (any, error) {
			n, err := maxItems(q)
			return &route53.ListResourceRecordSetsInput{
				HostedZoneId: &p[0], MaxItems: n, StartRecordName: optional(q.Get("name")),
				StartRecordType: types.RRType(q.Get("type")), StartRecordIdentifier: optional(q.Get("identifier")),
			}, err
		}},
		{http.MethodGet, checks, "ListHealthChecks", func(_ []string, q url.Values) (any, error) {
			n, err := maxItems(q)
			return &route53.ListHealthChecksInput{Marker: optional(q.Get("marker")), MaxItems: n}, err
		}},
		{http.MethodGet, checks + "/{Id}", "GetHealthCheck", func(p []string, _ url.Values) (any, error) {
			return &route53.GetHealthCheckInput{HealthCheckId: &p[0]}, nil
		}},
		{http.MethodGet, checks + "/{Id}/status", "GetHealthCheckStatus", func(p []string, _ url.Values) (any, error) {
			return &route53.GetHealthCheckStatusInput{HealthCheckId: &p[0]}, nil
		}},
	}
}

// maxItems reads the page size of Route 53; more than 100 is 100.
func maxItems(q url.Values) (*int32, error) {
	text := q.Get("maxitems")
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		return nil, fail("InvalidInput", "Invalid XML ; value of maxItems is not a positive integer: %.20s", text)
	}
	return aws.Int32(int32(min(n, 100))), nil
}

func pageSize(n *int32) int {
	if n == nil {
		return 100
	}
	return int(*n)
}

func (e *Endpoint) listHostedZones(
	_ context.Context, _ request, in *route53.ListHostedZonesInput,
) (*route53.ListHostedZonesOutput, error) {
	size := pageSize(in.MaxItems)
	page, next, ok := pageAfter(e.options.Topology.Zones, func(z topology.Zone) string { return z.ID },
		aws.ToString(in.Marker), size)
	if !ok {
		return nil, noHostedZone(*in.Marker)
	}
	out := &route53.ListHostedZonesOutput{
		HostedZones: []types.HostedZone{}, MaxItems: aws.Int32(int32(size)), Marker: in.Marker, NextMarker: optional(next),
		IsTruncated: next != "",
	}
	for _, z := range page {
		if in.HostedZoneType == "" || z.Private {
			out.HostedZones = append(out.HostedZones, e.hostedZone(z))
		}
	}
	return out, nil
}

func noHostedZone(id string) error {
	return gone("NoSuchHostedZone", "No hosted zone found with ID: %s", zoneID(id))
}

// zoneID strips what clients put before a zone's id.
func zoneID(id string) string { return strings.TrimPrefix(strings.TrimPrefix(id, "/"), "hostedzone/") }

func (e *Endpoint) hostedZone(z topology.Zone) types.HostedZone {
	count := int64(0)
	for _, r := range e.options.Topology.Records {
		if r.ZoneID == z.ID {
			count++
		}
	}
	return types.HostedZone{
		Id: aws.String("/hostedzone/" + z.ID), Name: aws.String(absolute(z.Name)), ResourceRecordSetCount: &count,
		CallerReference: aws.String("holdfast-" + z.ID), Config: &types.HostedZoneConfig{PrivateZone: z.Private},
	}
}

// absolute ends a DNS name with a dot, as Route 53 shows it.
func absolute(name string) string { return strings.TrimSuffix(name, ".") + "." }

func (e *Endpoint) zone(id string) (topology.Zone, error) {
	for _, z := range e.options.Topology.Zones {
		if z.ID == zoneID(id) {
			return z, nil
		}
	}
	return topology.Zone{}, noHostedZone(id)
}

func (e *Endpoint) getHostedZone(
	_ context.Context, _ request, in *route53.GetHostedZoneInput,
) (*route53.GetHostedZoneOutput, error) {
	z, err := e.zone(*in.Id)
	if err != nil {
		return nil, err
	}
	view := e.hostedZone(z)
	return &route53.GetHostedZoneOutput{HostedZone: &view}, nil
}

func (e *Endpoint) listResourceRecordSets(
	_ context.Context, _ request, in *route53.ListResourceRecordSetsInput,
) (*route53.ListResourceRecordSetsOutput, error) {
	z, err := e.zone(*in.HostedZoneId)
	if err != nil {
		return nil, err
	}
	if in.StartRecordType != "" && in.StartRecordName == nil {
		return nil, fail("InvalidInput", "The input is not valid: a type was specified without a name")
	}
	if in.StartRecordIdentifier != nil && (in.StartRecordName == nil || in.StartRecordType == "") {
		return nil, fail("InvalidInput", "The input is not valid: an identifier was specified without a name and a type")
	}
	var records []types.ResourceRecordSet
	for _, r := range e.options.Topology.Records {
		if r.ZoneID == z.ID {
			records = append(records, recordSet(r))
		}
	}
	slices.SortFunc(records, func(a, b types.ResourceRecordSet) int { return slices.Compare(recordKey(a), recordKey(b)) })
	if in.StartRecordName != nil {
		start := []string{reversed(*in.StartRecordName), string(in.StartRecordType), aws.ToString(in.StartRecordIdentifier)}
		records = slices.DeleteFunc(records, func(r types.ResourceRecordSet) bool {
			return slices.Compare(recordKey(r), start) < 0
		})
	}
	size := pageSize(in.MaxItems)
	out := &route53.ListResourceRecordSetsOutput{
		ResourceRecordSets: records[:min(size, len(records))], MaxItems: aws.Int32(int32(size)), IsTruncated: len(records) > size,
	}
	if out.IsTruncated {
		next := records[size]
		out.NextRecordName, out.NextRecordType, out.NextRecordIdentifier = next.Name, next.Type, next.SetIdentifier
	}
	return out, nil
}

// recordKey is what Route 53 sorts by: the name from its last label on, the type, the identifier.
func recordKey(r types.ResourceRecordSet) []string {
	return []string{reversed(*r.Name), string(r.Type), aws.ToString(r.SetIdentifier)}
}

func reversed(name string) string {
	labels := strings.Split(strings.TrimSuffix(strings.ToLower(name), "."), ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "."
}

func recordSet(r topology.Record) types.ResourceRecordSet {
	out := types.ResourceRecordSet{
		Name: aws.String(absolute(r.Name)), Type: types.RRType(r.Type), SetIdentifier: optional(r.SetIdentifier),
		Failover: types.ResourceRecordSetFailover(r.Failover), HealthCheckId: optional(r.HealthCheckID),
	}
	if r.AliasName != "" {
		out.AliasTarget = &types.AliasTarget{
			DNSName: aws.String(absolute(r.AliasName)), HostedZoneId: aws.String(r.AliasZoneID),
			EvaluateTargetHealth: r.EvaluateTargetHealth,
		}
		return out
	}
	out.TTL = aws.Int64(int64(r.TTL / time.Second))
	for _, v := range r.Values {
		out.ResourceRecords = append(out.ResourceRecords, types.ResourceRecord{Value: aws.String(v)})
	}
	return out
}

func (e *Endpoint) listHealthChecks(
	_ context.Context, _ request, in *route53.ListHealthChecksInput,
) (*route53.ListHealthChecksOutput, error) {
	size := pageSize(in.MaxItems)
	page, next, ok := pageAfter(e.options.Topology.HealthChecks, func(h topology.HealthCheck) string { return h.ID },
		aws.ToString(in.Marker), size)
	if !ok {
		return nil, fail("InvalidInput", "The marker %s is not valid", *in.Marker)
	}
	out := &route53.ListHealthChecksOutput{
		HealthChecks: []types.HealthCheck{}, MaxItems: aws.Int32(int32(size)), Marker: aws.String(aws.ToString(in.Marker)),
		NextMarker: optional(next), IsTruncated: next != "",
	}
	for _, h := range page {
		out.HealthChecks = append(out.HealthChecks, healthCheckView(h))
	}
	return out, nil
}

func healthCheckView(h topology.HealthCheck) types.HealthCheck {
	config := &types.HealthCheckConfig{
		Type: types.HealthCheckType(h.Type), FullyQualifiedDomainName: optional(h.FQDN), Port: aws.Int32(int32(h.Port)),
		ResourcePath: optional(h.Path), RequestInterval: seconds(cmp.Or(h.Interval, 30*time.Second)),
		FailureThreshold: aws.Int32(int32(h.FailureThreshold)), MeasureLatency: aws.Bool(false), Inverted: aws.Bool(false),
		Disabled: aws.Bool(false), EnableSNI: aws.Bool(h.Type == "HTTPS"),
	}
	return types.HealthCheck{
		Id: aws.String(h.ID), CallerReference: aws.String("holdfast-" + h.ID), HealthCheckConfig: config,
		HealthCheckVersion: aws.Int64(1),
	}
}

func (e *Endpoint) healthCheck(id string) (topology.HealthCheck, error) {
	for _, h := range e.options.Topology.HealthChecks {
		if h.ID == id {
			return h, nil
		}
	}
	return topology.HealthCheck{}, gone("NoSuchHealthCheck", "A health check with id %s does not exist.", id)
}

func (e *Endpoint) getHealthCheck(
	_ context.Context, _ request, in *route53.GetHealthCheckInput,
) (*route53.GetHealthCheckOutput, error) {
	h, err := e.healthCheck(*in.HealthCheckId)
	if err != nil {
		return nil, err
	}
	view := healthCheckView(h)
	return &route53.GetHealthCheckOutput{HealthCheck: &view}, nil
}

func (e *Endpoint) getHealthCheckStatus(
	_ context.Context, _ request, in *route53.GetHealthCheckStatusInput,
) (*route53.GetHealthCheckStatusOutput, error) {
	if _, err := e.healthCheck(*in.HealthCheckId); err != nil {
		return nil, err
	}
	out := &route53.GetHealthCheckStatusOutput{HealthCheckObservations: []types.HealthCheckObservation{}}
	for _, o := range e.options.HealthChecks.HealthCheckStatus(*in.HealthCheckId) {
		out.HealthCheckObservations = append(out.HealthCheckObservations, types.HealthCheckObservation{
			Region: types.HealthCheckRegion(o.Region), IPAddress: aws.String(o.IPAddress),
			StatusReport: &types.StatusReport{Status: aws.String(o.Status), CheckedTime: stamp(o.CheckedAt)},
		})
	}
	return out, nil
}
