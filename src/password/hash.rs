//! Password hashes in PHC form, of a cost that is known to be bearable before it is paid.

use std::fmt;
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use thiserror::Error;

use super::{Cost, Password, Typed, foreign};
use crate::secret::{random, same};

/// A stored password hash, checked to be one we can verify: ours in PHC form, or bcrypt of another
/// program.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes `$argon2id$v=19$m=..,t=..,p=..$salt$hash` of a bearable cost: at most 256 MiB, 16
    /// lanes, 16 passes, and no more than four passes over all of the 256 MiB; and bcrypt's `$2a$`,
    /// `$2b$` and `$2y$` of a cost from 4 to 14.
    pub fn parse(text: &str) -> Result<Self, BadHash> {
        if foreign::claims(text) {
            foreign::check(text)?;
            return Ok(Self(text.to_owned()));
        }
        let phc = phc(text).ok_or(BadHash::Form)?;
        parameters(&phc)?;
        Ok(Self(text.to_owned()))
    }

    /// Hashes a prepared password now, on this thread (command line; the gateway uses [`Hasher`]).
    ///
    /// [`Hasher`]: super::Hasher
    pub fn create(password: &Password, cost: Cost) -> Result<Self, BadHash> {
        Self::create_with(password, cost, &mut Memory::default())
    }

    /// Its text, for the store alone.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How long after it came a failed login is told at the earliest, so that its time does not tell
    /// whether it was about this hash.
    pub fn floor(&self) -> Duration {
        let floors = if self.is_foreign() {
            foreign::floors(&self.0)
        } else {
            let parameters = phc(&self.0).and_then(|phc| parameters(&phc).ok());
            parameters.map_or(u32::MAX, |cost| floors(cost.m_cost(), cost.t_cost()))
        };
        FLOOR.saturating_mul(floors)
    }

    /// Whether another program made it: of the raw password, not of the prepared one.
    pub fn is_foreign(&self) -> bool {
        foreign::claims(&self.0)
    }

    /// The name of the algorithm, for metrics.
    pub fn algorithm(&self) -> &'static str {
        if self.is_foreign() { foreign::ALGORITHM } else { OURS }
    }

    pub(super) fn create_with(
        password: &Password,
        cost: Cost,
        memory: &mut Memory,
    ) -> Result<Self, BadHash> {
        let params = cost.parameters(LENGTH)?;
        let salt = random::<16>();
        let output = memory.hash(params, password.expose(), &salt)?;
        cost.phc(&salt, output)
    }

    /// A hash of this cost that no password has: its output is random and was never computed.
    pub(super) fn decoy(cost: Cost) -> Result<Self, BadHash> {
        let output = Output::new(&random::<LENGTH>()).map_err(|_length| BadHash::Form)?;
        cost.phc(&random::<16>(), output)
    }

    /// Whether what was typed can be a password of this hash at all.
    pub(super) fn takes(&self, typed: &Typed) -> bool {
        if self.is_foreign() {
            foreign::takes(typed.raw.expose())
        } else {
            typed.prepared.is_some()
        }
    }

    /// Whether the password is that of the hash. Costs what the hash says.
    pub(super) fn is_of(&self, typed: &Typed, memory: &mut Memory) -> bool {
        if self.is_foreign() {
            return foreign::is_of(&self.0, typed.raw.expose());
        }
        let password = typed.prepared.as_ref().map_or(&[][..], Password::expose);
        self.matches(password, memory).unwrap_or(false)
    }

    fn matches(&self, password: &[u8], memory: &mut Memory) -> Result<bool, BadHash> {
        let phc = phc(&self.0).ok_or(BadHash::Form)?;
        let (Some(salt), Some(expected)) = (&phc.salt, &phc.hash) else {
            return Err(BadHash::Form);
        };
        let output = memory.hash(parameters(&phc)?, password, salt)?;
        Ok(same(output.as_bytes(), expected.as_bytes()))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// The algorithm of the hashes that are made here.
pub(super) const OURS: &str = "argon2id";

/// Why a text is no password hash of ours.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BadHash {
    /// Another algorithm or version, a broken text, or an output below 16 bytes.
    #[error("neither an argon2id hash in PHC form nor a bcrypt hash")]
    Form,
    /// So dear that logins could be used to stop the gateway, or less than argon2 itself asks for.
    #[error("its cost is beyond what a login may take")]
    Cost,
}

impl Cost {
    /// The same for hashes of this cost, and for any that costs less.
    pub fn floor(self) -> Duration {
        FLOOR.saturating_mul(floors(self.memory_kib, self.passes))
    }

    /// What argon2 is told, for an output of so many bytes.
    fn parameters(self, output: usize) -> Result<Params, BadHash> {
        let bearable = self.memory_kib <= MOST_MEMORY_KIB
            && self.passes <= MOST_PASSES
            && self.lanes <= MOST_LANES
            && self.memory_kib.saturating_mul(self.passes) <= MOST_WORK;
        if !bearable {
            return Err(BadHash::Cost);
        }
        Params::new(self.memory_kib, self.passes, self.lanes, Some(output))
            .map_err(|_out_of_range| BadHash::Cost)
    }

    fn phc(self, salt: &[u8], output: Output) -> Result<PasswordHash, BadHash> {
        let form = |_unwritable| BadHash::Form;
        let phc = Phc {
            algorithm: ARGON2ID_IDENT,
            version: Some(VERSION.into()),
            params: ParamsString::try_from(self.parameters(output.len())?).map_err(form)?,
            salt: Some(Salt::new(salt).map_err(|_length| BadHash::Form)?),
            hash: Some(output),
        };
        Ok(PasswordHash(phc.to_string()))
    }

    /// Blocks of memory that one hash of this cost works in.
    pub(super) fn blocks(self) -> Result<usize, BadHash> {
        Ok(self.parameters(LENGTH)?.block_count())
    }
}

/// The blocks that hashes are computed in, kept from one to the next.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) blocks: Vec<Block>,
    kept: usize,
}

impl Memory {
    /// Memory that keeps at most so many blocks between hashes.
    pub(super) fn keeping(kept: usize) -> Self {
        Self { blocks: Vec::new(), kept }
    }

    fn hash(&mut self, params: Params, password: &[u8], salt: &[u8]) -> Result<Output, BadHash> {
        let needed = params.block_count();
        if self.blocks.len() < needed {
            self.blocks.resize(needed, Block::new());
        }
        let mut buffer = [0; Output::MAX_LENGTH];
        let length = params.output_len().unwrap_or(LENGTH);
        let output = buffer.get_mut(..length).ok_or(BadHash::Form)?;
        let hashed = Argon2::new(Algorithm::Argon2id, VERSION, params)
            .hash_password_into_with_memory(password, salt, output, &mut self.blocks)
            .map_err(|_out_of_range| BadHash::Cost);
        if self.blocks.len() > self.kept {
            self.blocks.truncate(self.kept);
            self.blocks.shrink_to_fit();
        }
        hashed?;
        Output::new(output).map_err(|_length| BadHash::Form)
    }
}

type Phc = argon2::PasswordHash;

/// Reads `$argon2id$v=19$…` with nothing left out and an output that is long enough.
fn phc(text: &str) -> Option<Phc> {
    let phc = Phc::new(text).ok()?;
    let ours = phc.algorithm == ARGON2ID_IDENT
        && phc.version == Some(VERSION.into())
        && phc.salt.is_some()
        && phc.hash.as_ref().is_some_and(|output| output.len() >= SHORTEST);
    ours.then_some(phc)
}

fn parameters(phc: &Phc) -> Result<Params, BadHash> {
    let number = |name: &str| phc.params.get_decimal(name).ok_or(BadHash::Form);
    let cost = Cost { memory_kib: number("m")?, passes: number("t")?, lanes: number("p")? };
    // Neither a key id nor associated data, which would be part of the hash.
    if phc.params.iter().count() != 3 {
        return Err(BadHash::Form);
    }
    cost.parameters(phc.hash.as_ref().map_or(0, Output::len))
}

fn floors(memory_kib: u32, passes: u32) -> u32 {
    memory_kib.saturating_mul(passes).div_ceil(FLOOR_WORK).max(1)
}

const VERSION: Version = Version::V0x13;
/// Bytes of the hashes made here.
const LENGTH: usize = 32;
/// Bytes of a foreign hash at least: fewer could be met by chance.
const SHORTEST: usize = 16;

const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 16;
/// KiB times passes: about a second.
const MOST_WORK: u32 = 4 * MOST_MEMORY_KIB;

/// More than a hash takes of the work below, on a machine that is not the slowest.
const FLOOR: Duration = Duration::from_millis(400);
/// KiB times passes: about a quarter of a second.
const FLOOR_WORK: u32 = MOST_MEMORY_KIB;
