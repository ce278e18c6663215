//! Typed parameters: one declaration makes the struct, its checks and its help.

use crate::RpcError;
use serde::de::DeserializeOwned;
use std::fmt;
use uuid::Uuid;

/// Description of a parameter, for help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Name of the parameter.
    pub name: &'static str,
    /// Type in one word: `string`, `number`, `boolean`, ...
    pub kind: &'static str,
    /// Whether a call without it fails.
    pub required: bool,
    /// Meaning: one line.
    pub help: &'static str,
}

/// Parameters of a method, declared by [`params!`](crate::params!).
pub trait Params: DeserializeOwned + 'static {
    /// All parameters, in the order of a command line.
    const LIST: &'static [Param];
}

/// A type that a parameter can have.
pub trait Value {
    /// Name of the type in help: one word.
    const KIND: &'static str;
    /// Whether a parameter of this type must be given.
    const REQUIRED: bool = true;
}

/// Declares the names of types in help.
macro_rules! kinds {
    ($($type:ty => $kind:literal),* $(,)?) => { $(impl Value for $type { const KIND: &'static str = $kind; })* };
}

kinds! {
    String => "string", bool => "boolean", Uuid => "uuid", serde_json::Value => "object",
    u8 => "number", u16 => "number", u32 => "number", u64 => "number", i32 => "number",
}

impl<T: Value> Value for Option<T> {
    const KIND: &'static str = T::KIND;
    const REQUIRED: bool = false;
}

impl<T: Value> Value for Vec<T> {
    const KIND: &'static str = "list";
}

/// Declares the parameters of a method: a struct that is read from JSON and refuses unknown members.
/// A field's comment is its help. An `Option` may be missing or null.
#[macro_export]
macro_rules! params {
    ($(#[doc = $about:literal])* $visible:vis struct $Name:ident {
        $($(#[doc = $help:literal])+ $field:ident: $Type:ty),* $(,)?
    }) => {
        $(#[doc = $about])*
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $visible struct $Name { $($(#[doc = $help])+ pub $field: $Type),* }

        impl $crate::Params for $Name {
            const LIST: &'static [$crate::Param] = &[$($crate::Param {
                name: stringify!($field),
                kind: <$Type as $crate::ParamValue>::KIND,
                required: <$Type as $crate::ParamValue>::REQUIRED,
                help: concat!($($help),+).trim_ascii(),
            }),*];
        }
    };
}

params! {
    /// No parameters.
    pub struct NoParams {}
}

/// Reads parameters; `null` and `[]` mean none.
///
/// # Errors
/// -32602, naming the parameter that is unknown, missing, mistyped or out of range.
pub(crate) fn parse<P: Params>(mut params: serde_json::Value) -> Result<P, RpcError> {
    make_whole(&mut params);
    let params = match params {
        serde_json::Value::Null => serde_json::Value::Object(serde_json::Map::default()),
        serde_json::Value::Array(list) if list.is_empty() => {
            serde_json::Value::Object(serde_json::Map::default())
        }
        object @ serde_json::Value::Object(_) => object,
        _ => return Err(RpcError::invalid_params("parameters are given by name, in an object")),
    };
    serde_path_to_error::deserialize(params).map_err(|error| {
        let prefix = ParameterPrefix(error.path());
        RpcError::invalid_params(format_args!("{prefix}{}", error.inner()))
    })
}

/// Magnitude below which an `f64` holds every integer exactly: 2^53.
pub(crate) const EXACT: f64 = 9_007_199_254_740_992.0;

/// Turns floats without a fraction into integers, at any depth: some clients write 20 as 20.0.
fn make_whole(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(list) => list.iter_mut().for_each(make_whole),
        serde_json::Value::Object(members) => members.values_mut().for_each(make_whole),
        serde_json::Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT);
            if let Some(Ok(whole)) = whole.map(|float| format!("{float:.0}").parse::<i64>()) {
                *value = whole.into();
            }
        }
        _ => {}
    }
}

/// Prefix of an error message: `parameter NAME: `, or nothing if the error is not within a parameter.
struct ParameterPrefix<'a>(&'a serde_path_to_error::Path);

impl fmt::Display for ParameterPrefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.iter().len() {
            0 => Ok(()),
            _ => write!(f, "parameter `{}`: ", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    params! {
        /// A shape.
        struct Shape {
            /// Name
            name: String,
            /// Length
            length: u32,
            /// Identity
            uuid: Option<Uuid>,
            /// Corners
            corners: Option<Vec<u8>>,
        }
    }

    fn refusal(params: serde_json::Value) -> String {
        let error = parse::<Shape>(params).unwrap_err();
        assert_eq!(error.code, crate::Code::INVALID_PARAMS);
        error.message
    }

    #[test]
    fn a_declaration_lists_its_parameters_with_help() {
        let expected = [
            Param { name: "name", kind: "string", required: true, help: "Name" },
            Param { name: "length", kind: "number", required: true, help: "Length" },
            Param { name: "uuid", kind: "uuid", required: false, help: "Identity" },
            Param { name: "corners", kind: "list", required: false, help: "Corners" },
        ];
        assert_eq!(Shape::LIST, expected);
    }

    #[test]
    fn every_wrong_parameter_is_named() {
        for (params, named) in [
            (json!({}), "`name`"),
            (json!({"name": "a"}), "`length`"),
            (json!({"name": "a", "length": "5"}), "`length`"),
            (json!({"name": "a", "length": -1}), "`length`"),
            (json!({"name": "a", "length": 4_294_967_296_u64}), "`length`"),
            (json!({"name": "a", "length": 1.5}), "`length`"),
            (json!({"name": 7, "length": 1}), "`name`"),
            (json!({"name": "a", "length": 1, "width": 2}), "`width`"),
            (json!({"name": "a", "length": 1, "uuid": "no"}), "`uuid`"),
            (json!({"name": "a", "length": 1, "corners": [1, 256]}), "`corners[1]`"),
            (json!(["a", 1]), "by name"),
        ] {
            let message = refusal(params.clone());
            assert!(message.contains(named), "{params}: {message}");
        }
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let length =
            |json: &str| parse::<Shape>(serde_json::from_str(json).unwrap()).map(|shape| shape.length);
        assert_eq!(length(r#"{"name": "a", "length": 20.0, "corners": [1.0]}"#).unwrap(), 20);
        assert_eq!(length(r#"{"name": "a", "length": 2e3}"#).unwrap(), 2000);
        for wrong in ["20.5", "-1.0", "1e30", "1e300"] {
            assert!(length(&format!(r#"{{"name": "a", "length": {wrong}}}"#)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_optional_may_be_missing_or_null() {
        let shape: Shape = parse(json!({"name": "a", "length": 1, "uuid": null})).unwrap();
        assert_eq!(shape.name, "a");
        assert_eq!(shape.length, 1);
        assert!(shape.uuid.is_none(), "null");
        assert!(shape.corners.is_none(), "missing");
    }

    #[test]
    fn null_and_an_empty_list_are_no_parameters() {
        assert!(parse::<NoParams>(serde_json::Value::Null).is_ok());
        assert!(parse::<NoParams>(json!([])).is_ok());
        assert!(parse::<NoParams>(json!({"x": 1})).is_err());
    }
}
