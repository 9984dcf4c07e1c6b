#!/bin/bash
# Makes, in the folder $1: an authority (ca), a server's and a client's certificate signed by it, and another authority (other) with a
# client's certificate of its own (stranger).
set -euo pipefail
cd "$1"
key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
authority() { openssl req -x509 "${key[@]}" -keyout "$1.key" -out "$1.pem" -days 2 -subj "/CN=test authority $1"; }
signed() { # NAME AUTHORITY EXTENSION
  openssl req "${key[@]}" -keyout "$1.key" -out "$1.csr" -subj "/CN=$1"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -out "$1.pem" -days 2 -extfile <(echo "$3")
}
{
  authority ca
  authority other
  signed server ca "subjectAltName=DNS:localhost,IP:127.0.0.1"
  signed client ca "extendedKeyUsage=clientAuth"
  signed stranger other "extendedKeyUsage=clientAuth"
} 2>openssl.log >&2 || { cat openssl.log >&2; exit 1; }
