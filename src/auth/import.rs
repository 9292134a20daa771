//! Users of another program, with the hashes that it made of their passwords. All or none.
//!
//! The file is CSV (RFC 4180) whose first line is `username,hash`, and then any of `roles`
//! (separated by `;`), `name` and `email`. Strict: what is odd is told with its line, and then
//! nothing is taken over.

use std::collections::HashMap;

use super::bounds::check_texts;
use super::{UserError, Users};
use crate::identity::{Role, UserId, Username};
use crate::password::PasswordHash;
use crate::secret;
use crate::store::{Added, NewUser};

/// Whether an import is done or only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Tells what would happen.
    DryRun,
    /// Adds the users.
    ForGood,
}

/// Each with its line, from 1.
pub type ByLine<T> = Vec<(usize, T)>;

/// What an import found.
#[derive(Debug)]
pub struct Import {
    /// The users that were, or would be, added.
    pub users: Vec<Username>,
    /// What stands in the way. Not empty: nothing was added.
    pub faults: ByLine<String>,
}

impl Users {
    /// Takes users over from a file's text.
    pub async fn import(&self, text: &str, mode: Mode) -> Result<Import, UserError> {
        let (records, mut faults) = self.read(text);
        let names = records.iter().map(|(_, user)| user.username.clone()).collect();
        let taken = self.parts.store.taken(names).await?;
        for (line, user) in records.iter().filter(|(_, user)| taken.contains(&user.username)) {
            faults.push((*line, UserError::NameTaken(user.username.clone()).to_string()));
        }
        faults.sort();
        let free = |user: &&NewUser| !taken.contains(&user.username);
        let users: Vec<NewUser> = records.into_iter().map(|(_, user)| user).collect();
        let names = users.iter().filter(free).map(|user| user.username.clone()).collect();
        if mode == Mode::ForGood && faults.is_empty() {
            self.add_all(users).await?;
        }
        Ok(Import { users: names, faults })
    }

    async fn add_all(&self, new: Vec<NewUser>) -> Result<(), UserError> {
        let users = self.clone();
        self.parts
            .detached
            .to_its_end(|cancellation| async move {
                let told: Vec<_> =
                    new.iter().map(|user| (user.id, user.username.clone())).collect();
                let store = users.parts.store.until(cancellation);
                if store.add_users(new).await? == Added::NameTaken {
                    return Err(UserError::Raced);
                }
                users.parts.changes.happened();
                for (id, name) in told {
                    let event = users.event("auth.user.added").user(id).username(name);
                    users.parts.audit().write(event.outcome("success").reason("import"));
                }
                Ok(())
            })
            .await
    }

    /// Every user that can be read, with its line, and everything that cannot.
    fn read(&self, text: &str) -> (ByLine<NewUser>, ByLine<String>) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = (1..).zip(text.lines());
        let columns = match lines.next().map(|(_, line)| Column::read_all(line)) {
            Some(Ok(columns)) => columns,
            Some(Err(fault)) => return (Vec::new(), vec![(1, fault)]),
            None => return (Vec::new(), vec![(1, HEAD.to_owned())]),
        };
        let (mut users, mut faults, mut seen) = (Vec::new(), Vec::new(), HashMap::new());
        for (line, text) in lines {
            let user = self.user(&columns, text).and_then(|user| {
                match seen.insert(user.username.clone(), line) {
                    Some(first) => Err(format!("{} stands in line {first} already", user.username)),
                    None => Ok(user),
                }
            });
            match user {
                Ok(user) => users.push((line, user)),
                Err(fault) => faults.push((line, fault)),
            }
        }
        (users, faults)
    }

    fn user(&self, columns: &[Column], line: &str) -> Result<NewUser, String> {
        let fields = fields(line)?;
        if fields.len() != columns.len() {
            return Err(format!("{} fields, but {} columns", fields.len(), columns.len()));
        }
        let field = |wanted| {
            let mut all = columns.iter().zip(&fields);
            all.find(|(column, _)| **column == wanted).map(|(_, field)| field.as_str())
        };
        let text = |wanted| field(wanted).filter(|text| !text.is_empty()).map(str::to_owned);
        check_texts(field(Column::Name), field(Column::Email)).map_err(|bad| bad.to_string())?;
        let username = Username::new(field(Column::Username).unwrap_or_default())
            .and_then(|name| name.may_be_taken().map(|()| name))
            .map_err(|bad| bad.to_string())?;
        let roles = self.roles(field(Column::Roles).unwrap_or_default())?;
        // Not what it is: whoever sees the report need not see a hash.
        let hash = PasswordHash::parse(field(Column::Hash).unwrap_or_default())
            .map_err(|bad| format!("the hash: {bad}"))?;
        self.check_cost(&hash).map_err(|dear| dear.to_string())?;
        Ok(NewUser {
            id: UserId::from_bytes(secret::random()),
            username,
            name: text(Column::Name),
            email: text(Column::Email),
            roles,
            hash: Some(hash),
        })
    }

    fn roles(&self, list: &str) -> Result<Vec<Role>, String> {
        let names = list.split(';').filter(|_| !list.is_empty());
        let roles: Vec<Role> =
            names.map(Role::new).collect::<Result<_, _>>().map_err(|bad| bad.to_string())?;
        self.check_roles(&roles).map_err(|unknown| unknown.to_string())?;
        Ok(roles)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Username,
    Hash,
    Roles,
    Name,
    Email,
}

impl Column {
    fn read_all(line: &str) -> Result<Vec<Self>, String> {
        let mut columns = Vec::new();
        for name in fields(line)? {
            let column = match name.as_str() {
                "username" => Self::Username,
                "hash" => Self::Hash,
                "roles" => Self::Roles,
                "name" => Self::Name,
                "email" => Self::Email,
                _ => return Err(HEAD.to_owned()),
            };
            if columns.contains(&column) {
                return Err(HEAD.to_owned());
            }
            columns.push(column);
        }
        if columns.starts_with(&[Self::Username, Self::Hash]) {
            Ok(columns)
        } else {
            Err(HEAD.to_owned())
        }
    }
}

const HEAD: &str =
    "the first line names the columns: username,hash, then any of roles, name and email";

/// The fields of a line: plain, or between quotes, within which two quotes stand for one.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = Some(line);
    while let Some(text) = rest {
        let (field, after) = if let Some(quoted) = text.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let (field, after) = text.split_once(',').map_or((text, None), |(f, r)| (f, Some(r)));
            (field.to_owned(), after)
        };
        if field.chars().any(|c| c.is_control() || (c == '"' && !text.starts_with('"'))) {
            return Err("a field holds a control character, or a quote that begins none".to_owned());
        }
        fields.push(field);
        rest = after;
    }
    Ok(fields)
}

/// A field whose opening quote was taken off, and what follows its comma.
fn quoted_field(text: &str) -> Result<(String, Option<&str>), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            return Err("a quote is not closed; a field cannot hold a line's end".to_owned());
        };
        field.push_str(part);
        if let Some(next) = after.strip_prefix('"') {
            field.push('"');
            rest = next;
        } else if after.is_empty() {
            return Ok((field, None));
        } else {
            let next = after.strip_prefix(',').ok_or("something follows a closed quote")?;
            return Ok((field, Some(next)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_into_fields_as_rfc_4180_says() {
        for (line, expected) in [
            ("a,b", vec!["a", "b"]),
            ("", vec![""]),
            ("a,", vec!["a", ""]),
            (r#""a,b",c"#, vec!["a,b", "c"]),
            (r#""say ""hi""","x""#, vec![r#"say "hi""#, "x"]),
            (r#""",x"#, vec!["", "x"]),
        ] {
            assert_eq!(
                fields(line).ok(),
                Some(expected.iter().map(|f| (*f).to_owned()).collect()),
                "{line}"
            );
        }
        for line in [r#"a"b"#, r#""a"#, r#""a"b,c"#, "a\tb", "a\0"] {
            assert!(fields(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn the_first_line_names_the_columns_and_nothing_else() {
        assert!(Column::read_all("username,hash").is_ok());
        assert!(Column::read_all("username,hash,email,roles").is_ok());
        for line in [
            "",
            "hash,username",
            "username",
            "username,hash,hash",
            "username, hash",
            "Username,hash",
            "username,hash,age",
        ] {
            assert!(Column::read_all(line).is_err(), "{line}");
        }
    }
}
