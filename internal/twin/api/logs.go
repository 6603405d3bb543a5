package api

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	logs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"holdfast/internal/topology"
	"holdfast/internal/twin/api/wire"
)

func (e *Endpoint) logsService() *service {
	s := &service{
		id: "cloudwatchlogs", protocols: []protocol{json11}, target: "Logs_20140328", style: wire.Style{LowerCamel: true},
		missing: mustNotBeNull("InvalidParameterException"), invalid: invalidWith("InvalidParameterException"),
	}
	if e.options.Containers == nil {
		return s
	}
	s.operations = operations(
		op("DescribeLogGroups", e.describeLogGroups),
		op("DescribeLogStreams", e.describeLogStreams),
		op("FilterLogEvents", e.filterLogEvents),
		op("GetLogEvents", e.getLogEvents, "LogStreamName"),
	)
	return s
}

// maxLogEvents is what one answer holds at most, in events and bytes.
const (
	maxLogEvents = 10000
	maxLogBytes  = 1 << 20
)

func noLogGroup() error {
	return fail("ResourceNotFoundException", "The specified log group does not exist.")
}

// logPage pages a list of CloudWatch Logs.
func logPage[T any](items []T, key func(T) string, token *string, limit *int32, most int) ([]T, *string, error) {
	n := most
	if limit != nil {
		if n = int(*limit); n < 1 || n > most {
			return nil, nil, fail("InvalidParameterException", "1 validation error detected: Value '%d' at 'limit' failed to "+
				"satisfy constraint: Member must have value between 1 and %d", n, most)
		}
	}
	page, next, ok := pageAfter(items, key, aws.ToString(token), n)
	if !ok {
		return nil, nil, fail("InvalidParameterException", "The specified nextToken is invalid.")
	}
	return page, optional(next), nil
}

func (e *Endpoint) logGroupARN(g topology.LogGroup) string {
	return "arn:aws:logs:" + g.Region + ":" + e.options.Topology.AccountID + ":log-group:" + g.Name
}

// logGroup finds a group by its name or by its identifier (a name or an ARN); one of the two must be given.
func (e *Endpoint) logGroup(region string, name, identifier *string) (topology.LogGroup, error) {
	if (name == nil) == (identifier == nil) {
		return topology.LogGroup{}, fail("InvalidParameterException",
			"Exactly one of logGroupName and logGroupIdentifier must be specified")
	}
	wanted := aws.ToString(cmp.Or(name, identifier))
	for _, g := range e.options.Topology.LogGroups {
		if g.Region == region && (wanted == g.Name || identifier != nil && strings.TrimSuffix(wanted, ":*") == e.logGroupARN(g)) {
			return g, nil
		}
	}
	return topology.LogGroup{}, noLogGroup()
}

func (e *Endpoint) describeLogGroups(
	_ context.Context, r request, in *logs.DescribeLogGroupsInput,
) (*logs.DescribeLogGroupsOutput, error) {
	if in.LogGroupNamePrefix != nil && in.LogGroupNamePattern != nil {
		return nil, fail("InvalidParameterException",
			"LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	found := []types.LogGroup{}
	for _, g := range e.options.Topology.LogGroups {
		if g.Region != r.region || !strings.HasPrefix(g.Name, aws.ToString(in.LogGroupNamePrefix)) ||
			!strings.Contains(strings.ToLower(g.Name), strings.ToLower(aws.ToString(in.LogGroupNamePattern))) ||
			len(in.LogGroupIdentifiers) > 0 && !slices.Contains(in.LogGroupIdentifiers, g.Name) &&
				!slices.Contains(in.LogGroupIdentifiers, e.logGroupARN(g)) {
			continue
		}
		stored := int64(0)
		for _, s := range e.streams.list(e, g) {
			stored += s.size()
		}
		view := types.LogGroup{
			LogGroupName: aws.String(g.Name), Arn: aws.String(e.logGroupARN(g) + ":*"), LogGroupArn: aws.String(e.logGroupARN(g)),
			CreationTime: aws.Int64(e.created.UnixMilli()), MetricFilterCount: aws.Int32(0), StoredBytes: &stored,
			LogGroupClass: types.LogGroupClassStandard,
		}
		if g.RetentionDays > 0 {
			view.RetentionInDays = aws.Int32(int32(g.RetentionDays))
		}
		found = append(found, view)
	}
	page, next, err := logPage(found, func(g types.LogGroup) string { return *g.LogGroupName }, in.NextToken, in.Limit, 50)
	return &logs.DescribeLogGroupsOutput{LogGroups: page, NextToken: next}, err
}

func (e *Endpoint) describeLogStreams(
	_ context.Context, r request, in *logs.DescribeLogStreamsInput,
) (*logs.DescribeLogStreamsOutput, error) {
	g, err := e.logGroup(r.region, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	if in.OrderBy == types.OrderByLastEventTime && in.LogStreamNamePrefix != nil {
		return nil, fail("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	found := []types.LogStream{}
	for _, s := range e.streams.list(e, g) {
		if !strings.HasPrefix(s.name, aws.ToString(in.LogStreamNamePrefix)) {
			continue
		}
		view := types.LogStream{
			LogStreamName: aws.String(s.name), CreationTime: aws.Int64(s.created.UnixMilli()),
			Arn: aws.String(e.logGroupARN(g) + ":log-stream:" + s.name), UploadSequenceToken: aws.String("0"),
		}
		if events := s.read(); len(events) > 0 {
			first, last := events[0], events[len(events)-1]
			view.FirstEventTimestamp, view.LastEventTimestamp = &first.timestamp, &last.timestamp
			view.LastIngestionTime = &last.timestamp
		}
		found = append(found, view)
	}
	slices.SortFunc(found, func(a, b types.LogStream) int {
		if in.OrderBy == types.OrderByLastEventTime {
			return cmp.Compare(aws.ToInt64(a.LastEventTimestamp), aws.ToInt64(b.LastEventTimestamp))
		}
		return strings.Compare(*a.LogStreamName, *b.LogStreamName)
	})
	if aws.ToBool(in.Descending) {
		slices.Reverse(found)
	}
	page, next, err := logPage(found, func(s types.LogStream) string { return *s.LogStreamName }, in.NextToken, in.Limit, 50)
	return &logs.DescribeLogStreamsOutput{LogStreams: page, NextToken: next}, err
}

func (e *Endpoint) filterLogEvents(
	_ context.Context, r request, in *logs.FilterLogEventsInput,
) (*logs.FilterLogEventsOutput, error) {
	g, err := e.logGroup(r.region, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	if len(in.LogStreamNames) > 0 && in.LogStreamNamePrefix != nil {
		return nil, fail("InvalidParameterException", "logStreamNames and logStreamNamePrefix are mutually exclusive parameters.")
	}
	matches, err := parseFilterPattern(aws.ToString(in.FilterPattern))
	if err != nil {
		return nil, err
	}
	streams, missing := pick(e.streams.list(e, g), in.LogStreamNames, func(s logStream) []string { return []string{s.name} })
	if len(missing) > 0 {
		return nil, fail("ResourceNotFoundException", "The specified log stream does not exist.")
	}
	found := []types.FilteredLogEvent{}
	for _, s := range streams {
		if !strings.HasPrefix(s.name, aws.ToString(in.LogStreamNamePrefix)) || in.StartTime != nil && s.endsBefore(*in.StartTime) {
			continue
		}
		for _, ev := range s.read() {
			if in.StartTime != nil && ev.timestamp < *in.StartTime || in.EndTime != nil && ev.timestamp > *in.EndTime ||
				!matches(ev.message) {
				continue
			}
			found = append(found, types.FilteredLogEvent{
				EventId: aws.String(ev.id), LogStreamName: aws.String(s.name), Timestamp: &ev.timestamp,
				IngestionTime: &ev.timestamp, Message: aws.String(ev.message),
			})
		}
	}
	slices.SortStableFunc(found, func(a, b types.FilteredLogEvent) int { return cmp.Compare(*a.Timestamp, *b.Timestamp) })
	page, next, err := logPage(found, func(ev types.FilteredLogEvent) string { return *ev.EventId },
		in.NextToken, in.Limit, maxLogEvents)
	if err != nil {
		return nil, err
	}
	fit := fitting(page, func(ev types.FilteredLogEvent) int { return len(*ev.Message) })
	if fit < len(page) {
		page, next = page[:fit], page[fit-1].EventId
	}
	return &logs.FilterLogEventsOutput{Events: page, NextToken: next, SearchedLogStreams: []types.SearchedLogStream{}}, nil
}

// fitting is how many items fit into one answer, at least one if there is any.
func fitting[T any](items []T, size func(T) int) int {
	total := 0
	for n, i := range items {
		if total += size(i); total > maxLogBytes && n > 0 {
			return n
		}
	}
	return len(items)
}

// parseFilterPattern reads a filter pattern of terms and "phrases", all of which must occur; of those with a question
// mark one must, those with a minus must not.
func parseFilterPattern(pattern string) (func(message string) bool, error) {
	pattern = strings.TrimSpace(pattern)
	if strings.HasPrefix(pattern, "{") || strings.HasPrefix(pattern, "[") || strings.HasPrefix(pattern, "%") {
		return nil, fail("InvalidParameterException", "Invalid filter pattern: the twin knows terms and phrases only")
	}
	var all, either, none []string
	for pattern != "" {
		target := &all
		switch pattern[0] {
		case '?':
			target, pattern = &either, pattern[1:]
		case '-':
			target, pattern = &none, pattern[1:]
		}
		var term string
		if quoted, ok := strings.CutPrefix(pattern, `"`); ok {
			var closed bool
			if term, pattern, closed = strings.Cut(quoted, `"`); !closed {
				return nil, fail("InvalidParameterException", "Invalid filter pattern: a quote is not closed")
			}
		} else if n := strings.IndexAny(pattern, " \t"); n >= 0 {
			term, pattern = pattern[:n], pattern[n:]
		} else {
			term, pattern = pattern, ""
		}
		if term == "" {
			return nil, fail("InvalidParameterException", "Invalid filter pattern")
		}
		*target = append(*target, term)
		pattern = strings.TrimLeft(pattern, " \t")
	}
	return func(message string) bool {
		has := func(term string) bool { return strings.Contains(message, term) }
		lacks := func(term string) bool { return !has(term) }
		return !slices.ContainsFunc(all, lacks) && !slices.ContainsFunc(none, has) &&
			(len(either) == 0 || slices.ContainsFunc(either, has))
	}, nil
}

func (e *Endpoint) getLogEvents(
	_ context.Context, r request, in *logs.GetLogEventsInput,
) (*logs.GetLogEventsOutput, error) {
	g, err := e.logGroup(r.region, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	streams := e.streams.list(e, g)
	n := slices.IndexFunc(streams, func(s logStream) bool { return s.name == *in.LogStreamName })
	if n < 0 {
		return nil, fail("ResourceNotFoundException", "The specified log stream does not exist.")
	}
	limit := maxLogEvents
	if in.Limit != nil {
		if limit = int(*in.Limit); limit < 1 || limit > maxLogEvents {
			return nil, fail("InvalidParameterException", "1 validation error detected: Value '%d' at 'limit' failed to satisfy "+
				"constraint: Member must have value between 1 and %d", limit, maxLogEvents)
		}
	}
	events := slices.DeleteFunc(streams[n].read(), func(ev logEvent) bool {
		return in.StartTime != nil && ev.timestamp < *in.StartTime || in.EndTime != nil && ev.timestamp >= *in.EndTime
	})
	from, to, err := window(events, limit, aws.ToString(in.NextToken), aws.ToBool(in.StartFromHead))
	if err != nil {
		return nil, err
	}
	out := &logs.GetLogEventsOutput{Events: []types.OutputLogEvent{}}
	for _, ev := range events[from:to] {
		out.Events = append(out.Events, types.OutputLogEvent{
			Timestamp: aws.Int64(ev.timestamp), IngestionTime: aws.Int64(ev.timestamp), Message: aws.String(ev.message),
		})
	}
	out.NextForwardToken, out.NextBackwardToken = aws.String("f/"+idBefore(events, to)), aws.String("b/"+idBefore(events, from+1))
	return out, nil
}

// idBefore is the id of the event before a position, "0" at the start.
func idBefore(events []logEvent, n int) string {
	if n == 0 || n > len(events) {
		return "0"
	}
	return events[n-1].id
}

// window picks the events of one answer: those after the event that a forward token names, those before the event
// that a backward token names, or without a token the first or the last ones.
func window(events []logEvent, limit int, token string, fromHead bool) (from, to int, err error) {
	direction, id, _ := strings.Cut(token, "/")
	at := slices.IndexFunc(events, func(ev logEvent) bool { return ev.id == id })
	switch {
	case direction == "f" && id != "":
		from = at + 1 // an event that has been rotated away counts as the start
		to = min(len(events), from+limit)
	case direction == "b" && id != "":
		to = max(at, 0)
		from = max(0, to-limit)
	case token != "":
		return 0, 0, fail("InvalidParameterException", "The specified nextToken is invalid.")
	case fromHead:
		to = min(len(events), limit)
	default:
		to = len(events)
		from = max(0, to-limit)
	}
	if token == "" && !fromHead { // the newest that fit
		for from < to && fitting(events[from:to], eventSize) < to-from {
			from++
		}
		return from, to, nil
	}
	return from, from + fitting(events[from:to], eventSize), nil
}

func eventSize(ev logEvent) int { return len(ev.message) }
