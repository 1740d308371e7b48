// Package system runs the systems under test: offline nodes, asynq and River, each with settings of our choice, behind
// one interface.
//
// Everything about one system is in one file: how its tables or topics are made, how tasks are submitted, how a worker
// runs. A reader who knows the system should find there what its documentation recommends, and nothing that slows it.
package system
