// Package mutant lets a test break one rule of the program on purpose. A rule
// that nothing misses is needless, or its test is missing: test/mutants breaks
// them all, one after the other, and wants the named tests to fail.
//
// Only a build with the tag mutants can do so; its environment says which rule
// (MUTANT=name). In every other build [On] is a constant, and what hangs on it is not
// compiled.
package mutant
