// Package build makes bootable images from Debian's packages: the kernel and
// its modules out of a .deb, and an initramfs around one static program.
//
// Everything made here is reproducible: the same package and the same program
// give the same bytes, and what is already in the cache is not made again.
package build
