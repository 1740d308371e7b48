// Package cli is what the command-line programs share: how they read settings
// and connect, how they print tables, JSON and progress, how they stop, and
// what their exit statuses mean.
//
// Standard output carries what was asked for and nothing else; whatever is for
// people alone (progress, hints, mistakes) goes to standard error. Text that
// comes from tasks is cleaned before a terminal sees it.
package cli
