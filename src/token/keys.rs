//! Signing keys: made, read, and kept in a folder as PKCS#8, one file each.
//!
//! A file is named `MOMENT-KID.ALGORITHM.pk8`; the moment, in seconds since 1970, is when the key
//! begins to sign. Nothing else is noted of a key: the rest follows, see [`super::ring`].

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
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
use sha2::Sha256;
use thiserror::Error;

use super::files;
use crate::clock::Timestamp;
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
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) signing: SigningKey,
    pub(super) verifying: VerifyingKey,
    pub(super) public: Option<Jwk>,
}

impl Pair {
    pub(super) fn read(algorithm: Algorithm, pkcs8: &[u8]) -> Option<Self> {
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

    pub(super) fn shared(secret: &Secret) -> Result<Self, KeyError> {
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

/// `MOMENT-KID.ALGORITHM.pk8` in the key folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyFile {
    /// When it begins to sign.
    pub(super) from: Timestamp,
    kid: String,
    pub(super) path: PathBuf,
}

impl KeyFile {
    /// Writes a new key's file.
    pub(super) fn create(dir: &Path, new: &NewKey, from: Timestamp) -> Result<Self, KeyError> {
        let kid = new.pair.verifying.kid.clone();
        let name = format!("{}-{kid}.{}.pk8", from.as_secs(), new.pair.verifying.alg);
        let file = Self { from, kid, path: dir.join(name) };
        files::create(&file.path, new.pkcs8.expose())?;
        Ok(file)
    }

    /// The key files of one algorithm, by the moment they begin to sign.
    pub(super) fn all(dir: &Path, algorithm: Algorithm) -> Result<Vec<Self>, KeyError> {
        let failed = |cause| KeyError::Read { path: dir.to_owned(), cause };
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            if let Some(file) = Self::parse(entry.map_err(failed)?.path(), algorithm) {
                found.push(file?);
            }
        }
        found.sort();
        Ok(found)
    }

    /// None: the file is no key of this algorithm.
    fn parse(path: PathBuf, algorithm: Algorithm) -> Option<Result<Self, KeyError>> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".pk8")?;
        let stem = stem.strip_suffix(algorithm.name())?.strip_suffix('.')?;
        let named = stem.split_once('-').and_then(|(from, kid)| {
            Some((Timestamp::from_secs(i64::from(from.parse::<u32>().ok()?)), kid))
        });
        Some(match named {
            Some((from, kid)) => Ok(Self { from, kid: kid.to_owned(), path }),
            None => Err(KeyError::NotAKey { path }),
        })
    }

    pub(super) fn load(&self, algorithm: Algorithm) -> Result<Pair, KeyError> {
        let pair = Pair::read(algorithm, &files::read(&self.path)?);
        pair.filter(|pair| pair.verifying.kid == self.kid)
            .ok_or_else(|| KeyError::NotAKey { path: self.path.clone() })
    }
}

/// A key just made, with what its file will hold.
pub(super) struct NewKey {
    pkcs8: Secret,
    pub(super) pair: Pair,
}

impl NewKey {
    pub(super) fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let pkcs8 = generate(algorithm)?;
        let pair = Pair::read(algorithm, pkcs8.expose()).ok_or(KeyError::Generate)?;
        Ok(Self { pkcs8, pair })
    }
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
    #[error("{} exists and is never overwritten; move it away first", path.display())]
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
    /// A key that shall be gone is still there.
    #[error("cannot remove {}: {cause}; remove it by hand, or it verifies access tokens again after a restart", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Shared secrets are the configuration's.
    #[error(
        "with HS256 the secrets are in the configuration: put a new one in front, tokens.secret = [NEW, OLD], \
         run `portcullis reload`, and take OLD out an hour later (at once, to end the access tokens that it signed)"
    )]
    Configured,
    /// An archive of keys names files by at most 100 bytes.
    #[error("the name of {} is too long for an archive; keep it within the data folder", path.display())]
    LongName {
        /// Which.
        path: PathBuf,
    },
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
