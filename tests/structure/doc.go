// Package structure tests how the code is put together: the direction of imports
// between packages, and the size of reference cycles between the files of a package.
package structure
