package wire

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
)

// known fails the test if a decoder gave an error of another kind than its own.
func known(t *testing.T, err error) bool {
	t.Helper()
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Reason == "") {
		t.Errorf("%v (%T) is not a wire error", err, err)
	}
	return err == nil
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte(`{"TableName":"x","Item":{"id":{"S":"a"},"n":{"N":"1"},"l":{"L":[{"M":{"b":{"B":"YQ=="}}},{"NULL":true}]}}}`))
	f.Add([]byte(`{"tasks":["a"],"cluster":"c","desiredCount":3,"forceNewDeployment":true}`))
	f.Add([]byte(`{"StartTime":1.76e9,"EndTime":"2026-11-22T10:00:00Z","MetricDataQueries":[{"Id":"a","MetricStat":{"Period":60}}]}`))
	f.Add([]byte(`{"Item":{"a":{"S":"x","N":"1"}}}`))
	f.Add(bytes.Repeat([]byte(`{"Item":{"a":{"L":[`), 100))
	f.Fuzz(func(t *testing.T, body []byte) {
		upper, lower := Style{}, Style{LowerCamel: true}
		for _, into := range []any{&dynamodb.PutItemInput{}, &cloudwatch.GetMetricDataInput{}} {
			if known(t, upper.DecodeJSON(body, into)) {
				roundTrip(t, upper, into)
			}
		}
		known(t, lower.DecodeJSON(body, &ecs.UpdateServiceInput{}))
	})
}

// roundTrip checks that what was decoded can be encoded and decoded again, in JSON and in CBOR.
func roundTrip(t *testing.T, s Style, v any) {
	t.Helper()
	encoded, err := s.EncodeJSON(v)
	if err != nil {
		t.Errorf("%+v cannot be encoded: %v", v, err)
		return
	}
	switch v.(type) {
	case *dynamodb.PutItemInput:
		if err := s.DecodeJSON(encoded, &dynamodb.PutItemInput{}); err != nil {
			t.Errorf("%s: %v", encoded, err)
		}
	case *cloudwatch.GetMetricDataInput:
		if err := s.DecodeCBOR(s.EncodeCBOR(v), &cloudwatch.GetMetricDataInput{}); err != nil {
			t.Errorf("%s: %v", encoded, err)
		}
	}
}

func FuzzDecodeCBOR(f *testing.F) {
	s := Style{}
	f.Add(s.EncodeCBOR(&cloudwatch.PutMetricDataInput{Namespace: aws.String("x"), MetricData: []cwtypes.MetricDatum{{
		MetricName: aws.String("m"), Timestamp: aws.Time(time.Unix(1760000000, 0)), Value: aws.Float64(1.5), Values: []float64{-1, 2},
		StorageResolution: aws.Int32(-3), Dimensions: []cwtypes.Dimension{{Name: aws.String("a"), Value: aws.String("b")}},
	}}}))
	f.Add([]byte{0xbf, 0xff})
	f.Add([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0xa1, 0x63, 'a', 'b', 'c', 0xc1, 0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{0x81}, 500))
	f.Add(bytes.Repeat([]byte{0xc1}, 500))
	f.Fuzz(func(t *testing.T, body []byte) {
		in := &cloudwatch.PutMetricDataInput{}
		if known(t, s.DecodeCBOR(body, in)) {
			if err := s.DecodeCBOR(s.EncodeCBOR(in), &cloudwatch.PutMetricDataInput{}); err != nil {
				t.Errorf("what was decoded cannot be encoded: %v", err)
			}
		}
	})
}

func FuzzDecodeQuery(f *testing.F) {
	f.Add("Action=DescribeDBClusters&Filters.Filter.1.Name=a&Filters.Filter.1.Values.Value.1=b&Filters.Filter.2.Name=c&MaxRecords=20")
	f.Add("Attributes.entry.1.key=a&Attributes.entry.1.value=b&Names=&Targets.member.01.Id=1&Targets.member.1.Id=2")
	f.Add("Filters=1&Filters.1=2&..=.&a.b.c.d=e&StartTime=2026-11-22T10:00Z&Targets.member.-1.Port=99999999999")
	f.Fuzz(func(t *testing.T, body string) {
		form, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		for _, into := range []any{
			&rds.DescribeEventsInput{}, &elasticloadbalancingv2.DescribeTargetHealthInput{},
			&cloudwatch.GetMetricStatisticsInput{}, &sns.CreateTopicInput{},
		} {
			known(t, Style{}.DecodeQuery(form, into))
		}
	})
}

func FuzzEncodeXML(f *testing.F) {
	f.Add("a & b", "<c>", "\x00\xff]]>")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		var out bytes.Buffer
		out.WriteString("<Result>")
		Style{}.EncodeXML(&out, &rds.DescribeEventsOutput{Marker: &a, Events: []rdstypes.Event{{Message: &b, EventCategories: []string{c, a}}}})
		out.WriteString("</Result>")
		decoder := xml.NewDecoder(&out)
		for {
			if _, err := decoder.Token(); err == io.EOF {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestNullMembersAreAbsent(t *testing.T) {
	in := &dynamodb.GetItemInput{}
	body := []byte(`{"TableName":null,"Key":{"id":{"S":null,"N":"5"}},"ConsistentRead":null,"Unknown":{"x":[1]}}`)
	if err := (Style{}).DecodeJSON(body, in); err != nil {
		t.Fatal(err)
	}
	if n, ok := in.Key["id"].(*ddbtypes.AttributeValueMemberN); !ok || n.Value != "5" || in.TableName != nil || in.ConsistentRead != nil {
		t.Errorf("decoded %+v", in)
	}
}
