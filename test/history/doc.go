// Package history lets many clients claim, renew, settle and cancel tasks on a
// real Redis, through connections that lose answers and with a server that
// forgets, and has the history judged by porcupine: there must be an order of
// the calls, each between its start and its end, in which every answer is
// right. A naive claim (GET, then SET) must not pass.
package history
