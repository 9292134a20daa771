//! The key ring: one active signing key, all that still verify, and the JWKS.
//!
//! A ring is of one algorithm, and `kid` is a lookup in a fixed table: no token chooses how it is
//! verified (RFC 8725 section 3.1). Keys lie in a folder as PKCS#8, one file each, named
//! `NUMBER-KID.ALGORITHM.pk8`; the highest number signs.

use std::path::{Path, PathBuf};
use std::{fs, io};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
use sha2::Sha256;
use thiserror::Error;

use super::files;
use crate::secret::Secret;

/// How access tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// P-256 with SHA-256.
    Es256,
    /// RSA 2048, PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// HMAC-SHA-256 with a shared secret.
    Hs256,
}

/// Keys of one algorithm.
#[derive(Debug)]
pub struct KeyRing {
    active: SigningKey,
    /// All that verify, the active one's counterpart included.
    known: Vec<VerifyingKey>,
    jwks: String,
}

impl KeyRing {
    /// Loads the keys of a folder, making the first one if there is none (folder 0700, files
    /// 0600). Keys of other algorithms may lie there and are not read. For [`Algorithm::Hs256`]
    /// there is no folder: see [`KeyRing::shared`].
    pub fn open(dir: &Path, algorithm: Algorithm) -> Result<Self, KeyError> {
        files::ensure_folder(dir)?;
        let mut names = key_files(dir, algorithm)?;
        if names.is_empty() {
            names.push(create_key(dir, algorithm)?);
        }
        let pairs = names.iter().map(|name| name.load(algorithm)).collect::<Result<_, _>>()?;
        Self::of(pairs)
    }

    /// A ring of shared secrets of at least 32 bytes: the first signs, all verify.
    pub fn shared(secrets: &[Secret]) -> Result<Self, KeyError> {
        let pairs = secrets.iter().rev().map(Pair::shared).collect::<Result<_, _>>()?;
        Self::of(pairs)
    }

    /// A ring with a fresh key in memory, for the demo and tests.
    pub fn ephemeral(algorithm: Algorithm) -> Result<Self, KeyError> {
        let pair = match algorithm {
            Algorithm::Hs256 => Pair::shared(&Secret::new(crate::secret::random::<32>()))?,
            Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256 => {
                Pair::read(algorithm, generate(algorithm)?.expose()).ok_or(KeyError::Generate)?
            }
        };
        Self::of(vec![pair])
    }

    /// The JWKS (RFC 7517) of the public keys; empty for shared secrets.
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    pub(super) fn active(&self) -> &SigningKey {
        &self.active
    }

    pub(super) fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.known.iter().find(|key| key.kid == kid)
    }

    /// The last pair signs.
    fn of(pairs: Vec<Pair>) -> Result<Self, KeyError> {
        let keys = pairs.iter().filter_map(|pair| pair.public.clone()).collect();
        let jwks =
            serde_json::to_string(&JwkSet { keys }).map_err(|_unwritable| KeyError::Generate)?;
        let (signing, known): (Vec<_>, _) =
            pairs.into_iter().map(|pair| (pair.signing, pair.verifying)).unzip();
        let active = signing.into_iter().next_back().ok_or(KeyError::NoSecret)?;
        Ok(Self { active, known, jwks })
    }
}

/// What signs, with the header it signs under.
#[derive(Debug)]
pub(super) struct SigningKey {
    pub(super) header: jsonwebtoken::Header,
    pub(super) key: EncodingKey,
}

/// What verifies, in the one way this key is for.
#[derive(Debug)]
pub(super) struct VerifyingKey {
    pub(super) kid: String,
    /// The algorithm's name in a header.
    pub(super) alg: &'static str,
    pub(super) key: DecodingKey,
    pub(super) validation: Validation,
}

/// Both halves of a key, and the public one as the world may see it.
struct Pair {
    signing: SigningKey,
    verifying: VerifyingKey,
    public: Option<Jwk>,
}

impl Pair {
    fn read(algorithm: Algorithm, pkcs8: &[u8]) -> Option<Self> {
        let (signing, verifying) = match algorithm {
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
                let public = DecodingKey::from_ed_der(pair.public_key().as_ref());
                (EncodingKey::from_ed_der(pkcs8), public)
            }
            Algorithm::Es256 => {
                let rule = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_pkcs8(rule, pkcs8).ok()?;
                let public = DecodingKey::from_ec_der(pair.public_key().as_ref());
                (EncodingKey::from_ec_der(pkcs8), public)
            }
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).ok()?;
                let public = DecodingKey::from_rsa_der(pair.public_key().as_ref());
                (EncodingKey::from_rsa_der(rsa_private_key(pkcs8)?), public)
            }
            Algorithm::Hs256 => return None,
        };
        let mut public = Jwk::from_decoding_key(&verifying, Some(algorithm.in_jwt())).ok()?;
        let kid = shortened(&public.thumbprint(ThumbprintHash::SHA256).ok()?);
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Some(Self::new(algorithm, kid, signing, verifying).showing(public))
    }

    fn shared(secret: &Secret) -> Result<Self, KeyError> {
        let secret = secret.expose();
        if secret.len() < 32 {
            return Err(KeyError::Weak);
        }
        // RFC 7638 would hash the secret itself; this tells no more of it than any signature.
        let mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_too_long| KeyError::Weak)?;
        let digest = mac.chain_update(b"portcullis/1/kid").finalize().into_bytes();
        let kid = shortened(&URL_SAFE_NO_PAD.encode(digest));
        let verifying = DecodingKey::from_secret(secret);
        Ok(Self::new(Algorithm::Hs256, kid, EncodingKey::from_secret(secret), verifying))
    }

    fn new(algorithm: Algorithm, kid: String, signing: EncodingKey, key: DecodingKey) -> Self {
        let mut header = jsonwebtoken::Header::new(algorithm.in_jwt());
        header.typ = Some(super::access::TYPE.to_owned());
        header.kid = Some(kid.clone());
        let alg = algorithm.name();
        let validation = super::access::validation(algorithm.in_jwt());
        Self {
            signing: SigningKey { header, key: signing },
            verifying: VerifyingKey { kid, alg, key, validation },
            public: None,
        }
    }

    fn showing(mut self, public: Jwk) -> Self {
        self.public = Some(public);
        self
    }
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Hs256 => "HS256",
        }
    }

    fn in_jwt(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
        }
    }
}

/// `NUMBER-KID.ALGORITHM.pk8` in the key folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct KeyFile {
    number: u32,
    kid: String,
    path: PathBuf,
}

impl KeyFile {
    fn new(dir: &Path, number: u32, kid: &str, algorithm: Algorithm) -> Self {
        let path = dir.join(format!("{number}-{kid}.{}.pk8", algorithm.name()));
        Self { number, kid: kid.to_owned(), path }
    }

    /// None: the file is no key of this algorithm.
    fn parse(path: PathBuf, algorithm: Algorithm) -> Option<Result<Self, KeyError>> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".pk8")?;
        let stem = stem.strip_suffix(algorithm.name())?.strip_suffix('.')?;
        let named =
            stem.split_once('-').and_then(|(number, kid)| Some((number.parse().ok()?, kid)));
        Some(match named {
            Some((number, kid)) => Ok(Self { number, kid: kid.to_owned(), path }),
            None => Err(KeyError::NotAKey { path }),
        })
    }

    fn load(&self, algorithm: Algorithm) -> Result<Pair, KeyError> {
        let pair = Pair::read(algorithm, &files::read(&self.path)?);
        pair.filter(|pair| pair.verifying.kid == self.kid)
            .ok_or_else(|| KeyError::NotAKey { path: self.path.clone() })
    }
}

/// The key files of one algorithm, oldest first.
fn key_files(dir: &Path, algorithm: Algorithm) -> Result<Vec<KeyFile>, KeyError> {
    let failed = |cause| KeyError::Read { path: dir.to_owned(), cause };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        if let Some(file) = KeyFile::parse(entry.map_err(failed)?.path(), algorithm) {
            found.push(file?);
        }
    }
    found.sort();
    Ok(found)
}

fn create_key(dir: &Path, algorithm: Algorithm) -> Result<KeyFile, KeyError> {
    let pkcs8 = generate(algorithm)?;
    let pair = Pair::read(algorithm, pkcs8.expose()).ok_or(KeyError::Generate)?;
    let file = KeyFile::new(dir, 1, &pair.verifying.kid, algorithm);
    files::create(&file.path, pkcs8.expose())?;
    Ok(file)
}

/// A new private key as PKCS#8.
fn generate(algorithm: Algorithm) -> Result<Secret, KeyError> {
    let pkcs8 = match algorithm {
        Algorithm::EdDsa => Ed25519KeyPair::generate()
            .and_then(|pair| pair.to_pkcs8v1())
            .map(|document| Secret::new(document.as_ref())),
        Algorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|pair| pair.to_pkcs8v1())
            .map(|document| Secret::new(document.as_ref())),
        Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa2048)
            .and_then(|pair| pair.as_der())
            .map(|document: Pkcs8V1Der<'_>| Secret::new(document.as_ref())),
        Algorithm::Hs256 => return Err(KeyError::NoSecret),
    };
    pkcs8.map_err(|_unspecified| KeyError::Generate)
}

/// The RSAPrivateKey (RFC 8017) within a PKCS#8 key, which is what jsonwebtoken signs with. It
/// follows a head of 26 bytes in every key of 2048 bits and more: lengths take two bytes, and the
/// algorithm identifier is always the same.
fn rsa_private_key(pkcs8: &[u8]) -> Option<&[u8]> {
    let inner = pkcs8.get(26..)?;
    RsaKeyPair::from_der(inner).is_ok().then_some(inner)
}

/// 96 bits of a thumbprint tell keys apart.
fn shortened(thumbprint: &str) -> String {
    thumbprint.chars().take(16).collect()
}

/// A key cannot be read, made or used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file or folder cannot be read.
    #[error("cannot read {}: {cause}; check that it exists and belongs to the gateway's user", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file or folder cannot be made.
    #[error("cannot create {}: {cause}; check that its folder has room and that the gateway may write to it", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Group or others have a right on it.
    #[error("{} has mode {mode:04o} and is open to other users; run: chmod {wanted:04o} {}", path.display(), path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What they should be.
        wanted: u32,
    },
    /// A folder, a pipe, a device.
    #[error("{} is not a regular file; name the key file itself", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// A file is there already.
    #[error("{} exists and is never overwritten; move it away to have a new key made", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The content is no master key.
    #[error("{} does not hold a master key (one line of 43 base64url characters); restore it from a backup", path.display())]
    NotAMasterKey {
        /// Which.
        path: PathBuf,
    },
    /// The content is no signing key, or not the one that its name says.
    #[error("{} does not hold the signing key that its name says; restore it from a backup, or move it away (its access tokens end, sessions go on)", path.display())]
    NotAKey {
        /// Which.
        path: PathBuf,
    },
    /// A shared secret can be guessed.
    #[error("a shared secret needs at least 32 bytes; make one with: openssl rand -base64 48")]
    Weak,
    /// HS256 without a secret.
    #[error("HS256 needs a shared secret; configure one, or choose EdDSA")]
    NoSecret,
    /// The cryptographic library makes no key.
    #[error("cannot make a signing key: the cryptographic library refused")]
    Generate,
    /// The token could not be signed.
    #[error("cannot sign an access token")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The token would not fit into a cookie.
    #[error(
        "the access token has {length} bytes, at most {longest} fit into a cookie; give the user fewer roles"
    )]
    TooLong {
        /// Bytes it would have.
        length: usize,
        /// Bytes it may have.
        longest: usize,
    },
}
