// Package rig has what a measurement stands on: the servers, worker processes, what the kernel says of both, and a
// description of the machine.
package rig
