// Package scenario has the measurements, one a file: what is measured, how it is shown, and what we want to reach.
package scenario
