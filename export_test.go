package driftdb

// EventLogger is what a database logs to.
var EventLogger = eventLogger
