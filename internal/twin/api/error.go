package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/postgres"
	"holdfast/internal/twin/termtable"
)

// Error is an error as AWS answers it.
type Error struct {
	// Code is AWS's code on the wire, as in DBClusterNotFoundFault; Message its wording.
	Code, Message string
	// Shape is the modelled name of the error where it differs from the code (services that left the query protocol).
	Shape string
	// Status is the HTTP status, 400 if zero.
	Status int
	// Fields are further members of the error.
	Fields map[string]any
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ErrorCode is AWS's code.
func (e *Error) ErrorCode() string { return e.Code }

// ErrorMessage is AWS's wording.
func (e *Error) ErrorMessage() string { return e.Message }

// fail is an error of the sender with status 400.
func fail(code, format string, a ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, a...), Status: http.StatusBadRequest}
}

// gone is an error of the sender with status 404.
func gone(code, format string, a ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, a...), Status: http.StatusNotFound}
}

// silent reports whether an error means that the client gets no answer.
func silent(err error) bool { return errors.Is(err, termtable.ErrNoAnswer) || errors.Is(err, ErrLost) }

// asError turns a backend's error into AWS's. ok is false for a defect.
func asError(err error) (e *Error, ok bool) {
	if errors.As(err, &e) {
		return e, true
	}
	var coded interface {
		error
		ErrorCode() string
	}
	if errors.As(err, &coded) {
		e = &Error{Code: coded.ErrorCode(), Message: coded.Error(), Status: http.StatusBadRequest}
		if d := new(postgres.Error); errors.As(err, &d) && strings.Contains(d.Code, "NotFound") {
			e.Status = http.StatusNotFound // RDS's, unlike DynamoDB's
		}
		if m, ok := coded.(interface{ ErrorMessage() string }); ok {
			e.Message = m.ErrorMessage()
		}
		if f, ok := coded.(interface{ ErrorFields() map[string]any }); ok {
			e.Fields = f.ErrorFields()
		}
		return e, true
	}
	for _, known := range []struct {
		err  error
		code string
	}{
		{ecs.ErrClusterNotFound, "ClusterNotFoundException"},
		{ecs.ErrServiceNotFound, "ServiceNotFoundException"},
		{ecs.ErrTaskDefinitionNotFound, "ClientException"},
		{ecs.ErrTaskNotFound, "InvalidParameterException"},
		{ecs.ErrInvalid, "InvalidParameterException"},
		{ecs.ErrNoImage, "InvalidParameterException"},
		{ecs.ErrRegionDown, "ServerException"},
	} {
		if errors.Is(err, known.err) {
			return fail(known.code, "%s", err.Error()), true
		}
	}
	return &Error{
		Code: "InternalFailure", Status: http.StatusInternalServerError,
		Message: "The request processing has failed because of an unknown error, exception or failure.",
	}, false
}
