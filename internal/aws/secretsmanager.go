package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// secretAPI lists the Secrets Manager calls that [Secrets] makes.
type secretAPI interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (
		*secretsmanager.GetSecretValueOutput, error)
}

// Secrets reads the secrets of one region.
type Secrets struct {
	api    secretAPI
	region string
}

// Secrets makes the adapter for a region.
func (s *Session) Secrets(region string) *Secrets {
	api := secretsmanager.NewFromConfig(s.cfg, func(o *secretsmanager.Options) {
		o.Region = region
		o.Retryer = few()
	})
	return &Secrets{api: api, region: region}
}

// Password returns the database password of a secret: its JSON field "password", or the whole text if the secret is
// not a JSON object. Errors never carry the value.
func (s *Secrets) Password(ctx context.Context, arn string) (string, error) {
	out, err := s.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: sdk.String(arn)})
	if err != nil {
		return "", fmt.Errorf("read secret %s in %s: %w", arn, s.region, err)
	}
	text := sdk.ToString(out.SecretString)
	if text == "" {
		return "", fmt.Errorf("read secret %s in %s: %w", arn, s.region, errors.New("it has no text value"))
	}
	var fields struct {
		Password *string `json:"password"`
	}
	if json.Unmarshal([]byte(text), &fields) != nil {
		return text, nil
	}
	if fields.Password == nil || *fields.Password == "" {
		return "", fmt.Errorf("read secret %s in %s: its JSON has no field \"password\"", arn, s.region)
	}
	return *fields.Password, nil
}
