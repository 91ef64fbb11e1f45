package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What the compile load compiles: files of generated C, the same at each boot.
const (
	sourceFiles   = 4
	fileFunctions = 16
)

// writeSources makes /tmp/source in the userland.
func writeSources() error {
	dir := filepath.Join(userlandDir, "tmp/source")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.Chown(dir, loadUser, loadUser); err != nil {
		return err
	}
	var objects []string
	for i := range sourceFiles {
		name := fmt.Sprintf("f%d", i)
		objects = append(objects, name+".o")
		if err := os.WriteFile(filepath.Join(dir, name+".c"), []byte(source(i)), 0o644); err != nil {
			return err
		}
	}
	makefile := "all: " + strings.Join(objects, " ") + "\n%.o: %.c\n\tgcc -O2 -g -c -o $@ $<\n"
	return os.WriteFile(filepath.Join(dir, "Makefile"), []byte(makefile), 0o644)
}

// source is a file of functions that an optimiser has work with: loops, tables,
// switches, calls of one another.
func source(file int) string {
	var b strings.Builder
	b.WriteString("#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\n" +
		"struct node { struct node *next; uint64_t key; double weight; char name[32]; };\n\n")
	x := uint64(file)*0x9e3779b97f4a7c15 + 1
	draw := func(n uint64) uint64 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		return x % n
	}
	for i := range fileFunctions {
		fmt.Fprintf(&b, "static const uint32_t table_%d[16] = {", i)
		for range 16 {
			fmt.Fprintf(&b, "%du,", draw(1<<32))
		}
		fmt.Fprintf(&b, "};\n\nuint64_t work_%d_%d(struct node *list, const uint8_t *data, size_t n)\n{\n\tuint64_t sum = %du;\n", file, i, draw(1<<31))
		fmt.Fprintf(&b, "\tfor (size_t i = 0; i + %d < n; i++) {\n\t\tsum = (sum << %d) ^ (sum >> %d) ^ table_%d[data[i] & 15];\n", 1+draw(8), 1+draw(30), 1+draw(30), i)
		fmt.Fprint(&b, "\t\tswitch (data[i]) {\n")
		for c := range 6 + draw(10) {
			fmt.Fprintf(&b, "\t\tcase %d: sum += %du * data[i + 1]; break;\n", c*17%256, draw(1<<20))
		}
		fmt.Fprintf(&b, "\t\tdefault: sum ^= (uint64_t)(sum * %d.%de-3); break;\n\t\t}\n\t}\n", 1+draw(9), draw(1000))
		fmt.Fprintf(&b, "\tfor (struct node *p = list; p; p = p->next) {\n\t\tif (p->key %% %d == 0) p->weight *= 1.0 + (double)sum / %du;\n"+
			"\t\tsnprintf(p->name, sizeof p->name, \"n%d-%%llx\", (unsigned long long)(p->key ^ sum));\n\t\tsum += strlen(p->name);\n\t}\n", 2+draw(30), 1+draw(1<<30), i)
		if i > 0 {
			fmt.Fprintf(&b, "\tif (sum & %d) sum += work_%d_%d(list ? list->next : 0, data, n / 2);\n", 1<<draw(8), file, draw(uint64(i)))
		}
		fmt.Fprint(&b, "\treturn sum;\n}\n\n")
	}
	return b.String()
}
