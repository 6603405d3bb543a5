package postgres

import (
	"errors"
	"fmt"
)

// The codes that AWS gives to errors of its RDS API, as they appear on the wire.
const (
	CodeGlobalClusterNotFound     = "GlobalClusterNotFoundFault"
	CodeDBClusterNotFound         = "DBClusterNotFoundFault"
	CodeDBInstanceNotFound        = "DBInstanceNotFound"
	CodeSnapshotNotFound          = "DBClusterSnapshotNotFoundFault"
	CodeInvalidGlobalClusterState = "InvalidGlobalClusterStateFault"
	CodeInvalidDBClusterState     = "InvalidDBClusterStateFault"
	CodeInvalidDBInstanceState    = "InvalidDBInstanceState"
	CodeDBClusterExists           = "DBClusterAlreadyExistsFault"
	CodeDBClusterQuota            = "DBClusterQuotaExceededFault"
	CodeInvalidParameter          = "InvalidParameterValue"
	CodeDBInstanceExists          = "DBInstanceAlreadyExists"
)

// Error is a refusal of the control plane, with the code that AWS answers.
type Error struct {
	// Code is one of the Code constants.
	Code string
	// Message is one sentence.
	Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ErrorCode is the AWS code, as smithy's APIError names it.
func (e *Error) ErrorCode() string { return e.Code }

// ErrorMessage is the sentence without the code.
func (e *Error) ErrorMessage() string { return e.Message }

func refuse(code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Causes that end an operation on servers without being a defect.
var (
	errRegionDown   = errors.New("the Region is lost")
	errRegionFrozen = errors.New("the Region is frozen")
	errStopped      = errors.New("the twin's databases are being stopped")
	errNotRunning   = errors.New("the instance is not running")
	errNotCaughtUp  = errors.New("the target has not replayed everything that the old writer wrote")
)
