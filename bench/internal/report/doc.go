// Package report keeps what was measured and shows it: raw results as JSON, one file a scenario, and from them a page with
// tables, pictures and targets. The page can be made again from the files at any time, and one scenario's file can be
// replaced without the others.
package report
