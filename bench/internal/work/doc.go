// Package work is what every system under test is given to do, and how its workers tell what they did.
//
// A task behaves as its [Task] says, whichever system runs it. A [Reporter] writes a line to the worker's output when a
// task starts and when it ends; [Read] turns the lines into events again, in the process that measures. Times in lines
// are the worker's, so it does not matter when a line arrives.
package work
