"""TLS of the practice exchange: a certificate authority of its own in the run directory, or a certificate that is given.

The exchange is addressed as `localhost`, because a name is what a client sends (SNI) and what it compares with the
certificate. A client that asks for another name, or for none, is refused in the handshake. Clients trust the authority the
way they trust any: SSL_CERT_FILE names its file. Its key is used once, for the exchange's certificate, and never written.
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cstd.errors import OperatorError

HOST_NAME = "localhost"
CA_FILE, CERT_FILE, KEY_FILE = "practice-ca.pem", "practice-cert.pem", "practice-key.pem"
VALID_DAYS = 7
CLOCK_GRACE = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the exchange: certificate (chain), its key, and the authority to trust, None when it was given."""

    cert: Path
    key: Path
    ca: Path | None = None


def make_authority(directory: Path, now: dt.datetime, name: str = HOST_NAME) -> TlsFiles:
    """Make an authority and a certificate for `name` in `directory`, valid for a week from `now`; the key has mode 0600."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name, ends = _name("cstd practice authority"), now + dt.timedelta(days=VALID_DAYS)
    ca = (_builder(ca_name, ca_name, ca_key.public_key(), now, ends)
          .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
          .add_extension(_usage(signs=True), critical=True)
          .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
          .sign(ca_key, hashes.SHA256()))
    cert = (_builder(_name(name), ca_name, key.public_key(), now, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256()))
    files = TlsFiles(directory / CERT_FILE, directory / KEY_FILE, directory / CA_FILE)
    _write(directory / CA_FILE, ca.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(files.cert, cert.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(files.key, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                        serialization.NoEncryption()), 0o600)
    return files


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime,
             ends: dt.datetime) -> x509.CertificateBuilder:
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
            .serial_number(x509.random_serial_number()).not_valid_before(now - CLOCK_GRACE).not_valid_after(ends))


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(digital_signature=not signs, content_commitment=False, key_encipherment=False,
                         data_encipherment=False, key_agreement=False, key_cert_sign=signs, crl_sign=signs,
                         encipher_only=False, decipher_only=False)


def _write(path: Path, content: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a server's context: TLS 1.2 or newer, and the name that the client asks for must be HOST_NAME.

    Raises:
        OperatorError: certificate or key cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.cert, files.key)
    except OSError as error:  # ssl.SSLError is one
        raise OperatorError(f"practice: cannot use {files.cert} with {files.key}: {error}",
                            suggestion="both are PEM files, the key unencrypted and of that certificate") from error

    def check_name(_connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        return None if name == HOST_NAME else ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context.sni_callback = check_name
    return context
