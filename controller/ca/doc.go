// Package ca is the mesh's certificate authority: a root of its own or the user's, leaves from
// requests, and who may ask for which.
//
// # Rotation
//
// A root is replaced in three steps, each kept in the state directory. Prepare makes the new root,
// which from then on is in every answer's bundle. Activate lets it sign. Finish drops the old one.
//
// Proxies learn of roots when they renew. So that none is cut off, the new root is also certified by
// the old one, and between activate and finish that certificate is part of every chain: whoever knows
// only the old root can still follow it. Finish is refused until the last leaf that the old root
// signed, and the last that was handed out with only the old bundle, has ended.
package ca
