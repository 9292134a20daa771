//! `POST /auth/password`.

use serde::Deserialize;

use super::super::Gateway;
use super::super::pages::screens::Attempt;
use super::super::refusal::{Refusal, Refused};
use super::super::serve::{Arriving, Visit};
use super::account::CHANGED;
use super::form;
use super::login::welcome;
use super::{Answer, client};
use crate::auth::{Change, Changed};
use crate::request::{LocalPath, NormalRequest};
use crate::secret::Secret;

#[derive(Deserialize)]
struct ChangeForm {
    current_password: String,
    new_password: String,
}

impl Gateway {
    /// Answers like a login, in the transport of the session that asked.
    pub(super) async fn change_password(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
        upload: Arriving,
    ) -> Answer {
        let caller = self.known(visit, request).await?;
        let (form, _) = form::read::<ChangeForm>(request, upload).await?;
        let change = Change {
            caller: &caller,
            current: Secret::from(form.current_password),
            new: Secret::from(form.new_password),
            client: client(visit, request),
        };
        match self.auth.change_password(change).await? {
            Changed::Welcome(tokens) if visit.audience.is_form() => {
                let auth = &visit.snapshot.config().auth.path;
                let account = format!("{auth}/account?{CHANGED}");
                let to = LocalPath::read(&account).unwrap_or_default();
                Ok(welcome(visit, &tokens, &to))
            }
            Changed::Welcome(tokens) => Ok(self.pair(visit, &tokens)),
            Changed::Wrong if visit.audience.is_form() => {
                self.account_of(visit, &caller, Attempt::Wrong).await
            }
            Changed::Wrong => {
                Err(Refused::from(Refusal::InvalidCredentials)
                    .detail("The current password is wrong."))
            }
            Changed::Rejected(reasons) if visit.audience.is_form() => {
                self.account_of(visit, &caller, Attempt::Weak(&reasons)).await
            }
            Changed::Rejected(reasons) => Err(Refused::password(&reasons)),
            Changed::Wait(wait) => Err(wait.into()),
            Changed::Busy => Err(Refusal::Busy.into()),
        }
    }
}
