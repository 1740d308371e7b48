// Package remotestore gives one small interface over an object store: S3, a folder of the local or a shared file
// system, or memory.
//
// It promises what a commit protocol needs and no more:
//
//   - Create has exactly one winner per key, however many callers race for it, in this process or in others.
//   - An object is visible whole or not at all, and once a write has returned, every Get and List sees it.
//   - List answers in byte order of the keys.
//   - A write that failed without an answer is looked into, and is reported as ErrUnknown when that does not settle it.
//
// Some servers accept the conditional header and ignore it: SelfTest proves that a store keeps these promises, and is
// to be run before anything is committed to it.
//
// It does not promise that overwriting Puts are ordered, nor that Delete is seen at once by a listing that runs.
//
// Objects are addressed by keys such as "books/0/manifest/00000000000000000007.json": one to a thousand bytes of
// printable ASCII, in parts between slashes that are neither empty nor start with a dot. A key must not be a folder of
// another one: "a" and "a/b" cannot both exist in a file system.
package remotestore
