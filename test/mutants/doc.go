// Command mutants breaks the rules of the program, one after the other, and
// wants the tests to notice: each row of the catalogue names a rule and a test that must pass
// with it and fail without it. A rule that nothing misses is needless, or its test is
// missing.
//
//	make mutants
//
// The rules are switches in the code ([internal/mutant]) and edits of the Lua
// scripts (pkg/claims/mutants.go), both only in a build with the tag mutants. The protocol's models
// and the simulation have mutants of their own, which their tests play: they
// are listed with the rest. The table goes to docs/mutants.md.
package main
