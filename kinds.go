package driftdb

// Operation is what a [Change] did.
type Operation string

// The operations.
const (
	OperationInsert  Operation = "insert"  // of a row
	OperationUpdate  Operation = "update"  // of a row
	OperationDelete  Operation = "delete"  // of a row
	OperationSchema  Operation = "schema"  // a statement that changes the schema
	OperationBarrier Operation = "barrier" // a change that the log cannot describe: a snapshot continues from here
)

// Stage is what a restore is doing.
type Stage string

// The stages, in order.
const (
	StageSnapshot Stage = "snapshot" // downloading the snapshot: Done and Total are bytes
	StageReplay   Stage = "replay"   // replaying the log: Done and Total are sequence numbers
	StageCheck    Stage = "check"    // checking the result: Done and Total are rows
)
