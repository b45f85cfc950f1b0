//! lvs.cf as the API gives and takes it: `/v1/config` and what is below.
//!
//! The daemon reads and writes the file, so that whoever may only talk to it need not be able to.

mod answers;
mod desk;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(super) use self::answers::{
    __path_check, __path_current, __path_kept, __path_kept_one, __path_replace, check, current,
    kept, kept_one, reload_now, replace,
};
pub use self::desk::Desk;
use super::request::{Comparison, Reloaded};
use crate::config::{
    check::Answer as Report,
    diagnostic::Located,
    store::{Fingerprint, Listed},
    text::Text,
};

/// lvs.cf as it stands: the answer to `GET /v1/config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Current {
    /// Where it is.
    pub path: String,
    /// Tells it from what it may become (SHA-256).
    #[schema(value_type = String)]
    pub version: Fingerprint,
    /// Whether the daemon has read just this; else a reload would.
    pub loaded: bool,
    /// What it says.
    #[serde(flatten)]
    pub text: Text,
}

/// The question of `POST /v1/config/check` is a [`Text`]; this is the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Examined {
    /// What is wrong with it, or may be.
    #[serde(flatten)]
    pub report: Report<'static>,
    /// What a reload of it would change; none if it cannot be loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// The question of `PUT /v1/config`: lvs.cf is to say something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replacement {
    /// What it is to say.
    #[serde(flatten)]
    pub text: Text,
    /// The version that this was made of. If the file is another by now, nothing is written.
    #[schema(value_type = String)]
    pub based_on: Fingerprint,
    /// It is to be read again at once.
    #[serde(default)]
    pub reload: bool,
    /// With `reload`: what was changed by command is forgotten.
    #[serde(default)]
    pub discard: bool,
}

/// The answer to `PUT /v1/config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replaced {
    /// The version that the file has now.
    #[schema(value_type = String)]
    pub version: Fingerprint,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// What the author of the file ought to know.
    pub diagnostics: Vec<Located<'static>>,
    /// What the reload changed, if there was one that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reloaded: Option<Reloaded>,
}

/// A step on the way from a text to what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// What was to be done.
    pub step: Stage,
    /// Whether it was.
    pub done: bool,
    /// What became of it, in one line.
    pub text: String,
}

/// What is to be done on the way from a text to what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ConfigStage)]
pub enum Stage {
    /// The text is checked.
    Check,
    /// The file is written, and what it was is kept as a version.
    Write,
    /// The daemon reads it.
    Reload,
}

/// The file is not what somebody believes: the answer to `PUT /v1/config` with the status 409.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outdated {
    /// That in words.
    pub text: String,
    /// The version that it has.
    #[schema(value_type = String)]
    pub version: Fingerprint,
}

/// The versions that were replaced: the answer to `GET /v1/config/versions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Kept {
    /// The newest first.
    pub versions: Vec<Listed>,
}

/// One of them with what it says: the answer to `GET /v1/config/versions/{number}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptOne {
    /// Which.
    #[serde(flatten)]
    pub listed: Listed,
    /// Tells it from others (SHA-256).
    #[schema(value_type = String)]
    pub version: Fingerprint,
    /// What it says.
    #[serde(flatten)]
    pub text: Text,
}
