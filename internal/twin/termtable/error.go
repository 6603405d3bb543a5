package termtable

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Error is an error as DynamoDB answers it.
type Error struct {
	// Code is AWS's name of the error, as in ValidationException.
	Code    string
	Message string
	// Item is the item that a failed condition was tested on, if the request asked for it.
	Item item
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ErrorCode is AWS's name of the error.
func (e *Error) ErrorCode() string { return e.Code }

// ErrorMessage is AWS's wording.
func (e *Error) ErrorMessage() string { return e.Message }

// ErrorFields are the members that the error carries beside its message.
func (e *Error) ErrorFields() map[string]any {
	if e.Item == nil {
		return nil
	}
	return map[string]any{"Item": map[string]types.AttributeValue(e.Item)}
}

// ErrNoAnswer says that the request got no answer because a region or a link was lost. A write may have happened.
var ErrNoAnswer = errors.New("the table did not answer: too few regions could be reached, and a write may have happened")

func validation(format string, a ...any) error {
	return &Error{Code: "ValidationException", Message: fmt.Sprintf(format, a...)}
}

func parameterError(format string, a ...any) error {
	return validation("One or more parameter values were invalid: "+format, a...)
}

func conditionFailed(old item) error {
	return &Error{Code: "ConditionalCheckFailedException", Message: "The conditional request failed", Item: old}
}

func notFound(table string) error {
	return &Error{
		Code: "ResourceNotFoundException", Message: "Requested resource not found: Table: " + table + " not found",
	}
}

func writeConflict() error {
	return &Error{
		Code: "ReplicatedWriteConflictException",
		Message: "One or more items in this request are being modified by a request in another Region. " +
			"Please retry the request.",
	}
}
