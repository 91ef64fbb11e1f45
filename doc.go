// Package bumpless holds no code: the program is in appliance, the
// decisions in ha, the moves in migrate. Its one test, arch_test.go, holds
// the table of imports that the house forbids.
package bumpless
