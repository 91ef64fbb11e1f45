// Package bumpless holds no code: the program is in appliance, the
// decisions in ha, the moves in migrate. arch_test.go holds the table of imports
// that the house forbids, docs_test.go holds the documents to the program.
package bumpless
