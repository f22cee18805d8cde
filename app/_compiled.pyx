# cython: language_level=3, binding=False
"""Compiled forms of what nearly every request goes through; the plain rooms stand beside each of them.

Nothing is decided here that a plain room does not decide: what is not plainly usual (a fault, a rare form, a rare script)
is given back as None or raised, and the plain rooms say what becomes of it. `tests/unit/test_compiled.py` holds the two
against each other. All data are Python's own objects, read through its own functions within their lengths.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.datetime cimport date, date_day, date_month, date_new, date_year, import_datetime
from cpython.dict cimport PyDict_GetItem, PyDict_Next
from cpython.mem cimport PyMem_Realloc
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_SET_ITEM
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    int PyUnicode_KIND(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bint PyUnicode_IS_ASCII(object text)
    object PyUnicode_Substring(object text, Py_ssize_t start, Py_ssize_t end)
    object PyUnicode_DecodeASCII(const char* data, Py_ssize_t size, const char* errors)
    object PyType_GenericAlloc(PyTypeObject* kind, Py_ssize_t size)

import os

import orjson
from _hashlib import openssl_sha1, openssl_sha256

from app.model import UNSET, Answer, Customer, Envelope, Outcome, Patient, PatientData, Position, Record, Request, StoredAnswer

import_datetime()


cdef inline object _blank(object cls):
    """An object of a class with slots, none of them filled: `__init__` in Python costs several times as much."""
    return PyType_GenericAlloc(<PyTypeObject*>cls, 0)


cdef inline object _row(object cls, tuple values):
    """A named tuple of these values."""
    cdef Py_ssize_t size = PyTuple_GET_SIZE(values), at
    made = PyType_GenericAlloc(<PyTypeObject*>cls, size)
    for at in range(size):
        value = <object>PyTuple_GET_ITEM(values, at)
        Py_INCREF(value)
        PyTuple_SET_ITEM(made, at, value)
    return made


# What a character of Latin-1 is. Those of TEXT are printable, visible but for the space, and their own NFC.
cdef enum:
    TEXT = 1
    LETTER = 2
    DIGIT = 4
    LOCAL = 8
    CUSTOMER = 16

cdef unsigned char _IS[256]


cdef void _learn():
    cdef int code
    for code in range(256):
        _IS[code] = 0
        if 0x20 <= code <= 0x7E or (code >= 0xA1 and code != 0xAD):
            _IS[code] |= TEXT
    for code in range(0x30, 0x3A):
        _IS[code] |= DIGIT | LETTER | LOCAL | CUSTOMER
    for code in range(0x41, 0x5B):
        _IS[code] |= LETTER | LOCAL | CUSTOMER
        _IS[code + 32] |= LETTER | LOCAL | CUSTOMER
    for code in range(0xC0, 0x100):
        if code != 0xD7 and code != 0xF7:
            _IS[code] |= LETTER
    for mark in b"_!#$%&'*+-/=?^`{|}~":
        _IS[<int>mark] |= LOCAL
    for mark in b"._:-":
        _IS[<int>mark] |= CUSTOMER


_learn()


# --- texts -----------------------------------------------------------------------------------------------------------


cdef inline object _text(object raw, Py_ssize_t limit, int* found):
    """The text trimmed, and what is among its characters; None where a rule has to look closer."""
    cdef const unsigned char* data
    cdef Py_ssize_t first = 0, end, at
    cdef unsigned char every = TEXT, some = 0, kind
    if type(raw) is not str or PyUnicode_KIND(raw) != 1:
        return None
    data = <const unsigned char*>PyUnicode_DATA(raw)
    end = PyUnicode_GET_LENGTH(raw)
    for at in range(end):
        kind = _IS[data[at]]
        every &= kind
        some |= kind
    if not every:
        return None
    while end > first and data[end - 1] == 0x20:
        end -= 1
    while first < end and data[first] == 0x20:
        first += 1
    if end - first > limit:
        return None
    found[0] = some
    if end - first == PyUnicode_GET_LENGTH(raw):
        return raw
    return PyUnicode_Substring(raw, first, end)


cdef inline bint _identifier(object raw):
    """Whether these bytes are 1 to 255 printable characters of ASCII."""
    cdef const unsigned char* data
    cdef Py_ssize_t size, at
    if type(raw) is not bytes:
        return False
    data, size = <const unsigned char*>PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw)
    if not 1 <= size <= 255:
        return False
    for at in range(size):
        if not 0x20 <= data[at] <= 0x7E:
            return False
    return True


cdef inline object _ascii(object raw):
    return PyUnicode_DecodeASCII(PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw), NULL)


cdef inline bint _usual_customer(object name):
    """Whether this is what the default of `CUSTOMER_PATTERN` takes."""
    cdef const unsigned char* data
    cdef Py_ssize_t size, at
    if not PyUnicode_IS_ASCII(name):
        return False
    data, size = <const unsigned char*>PyUnicode_DATA(name), PyUnicode_GET_LENGTH(name)
    if not 1 <= size <= 100 or not _IS[data[0]] & LETTER:
        return False
    for at in range(size):
        if not _IS[data[at]] & CUSTOMER:
            return False
    return True


cdef inline int _pair(const unsigned char* data):
    """A number of two digits, or -1."""
    if not (_IS[data[0]] & DIGIT and _IS[data[1]] & DIGIT):
        return -1
    return (data[0] - 0x30) * 10 + data[1] - 0x30


cdef object _day(object raw):
    """The date that is written as `2001-02-03`; None where it is written otherwise. Raises where there is no such day."""
    cdef const unsigned char* data
    cdef int century, year, month, day
    if type(raw) is not str or not PyUnicode_IS_ASCII(raw) or PyUnicode_GET_LENGTH(raw) != 10:
        return None
    data = <const unsigned char*>PyUnicode_DATA(raw)
    if data[4] != 0x2D or data[7] != 0x2D:
        return None
    century, year, month, day = _pair(data), _pair(data + 2), _pair(data + 5), _pair(data + 8)
    if century < 0 or year < 0 or month < 0 or day < 0:
        return None
    return date_new(100 * century + year, month, day)


# --- JSON ------------------------------------------------------------------------------------------------------------


cpdef object canonical(object value, int depth):
    """The value as `app.envelope.json` compares it, changed in place. Raises RecursionError where it is deeper."""
    cdef PyObject* name
    cdef PyObject* member
    cdef Py_ssize_t at = 0
    kind = type(value)
    if kind is dict:
        if depth <= 0:
            raise RecursionError
        while PyDict_Next(value, &at, &name, &member):
            inner = type(<object>member)
            if inner is dict or inner is list or inner is float:  # no member is added, which alone would move the others
                (<dict>value)[<object>name] = canonical(<object>member, depth - 1)
        return value
    if kind is list:
        if depth <= 0:
            raise RecursionError
        for at in range(len(<list>value)):
            one = (<list>value)[at]
            inner = type(one)
            if inner is dict or inner is list or inner is float:
                (<list>value)[at] = canonical(one, depth - 1)
        return value
    if kind is float and value.is_integer():
        return int(value)
    return value


# --- requests --------------------------------------------------------------------------------------------------------


cdef enum:
    SPECVERSION, ID, SOURCE, TYPE, TIME, SUBJECT, CONTENT_TYPE, KEY, KEY_SOURCE
    TRACEPARENT, TRACESTATE, CORRELATION, AUTHORIZATION, HEADERS

cdef dict _PLACES = {
    "ce_specversion": SPECVERSION,
    "ce_id": ID,
    "ce_source": SOURCE,
    "ce_type": TYPE,
    "ce_time": TIME,
    "ce_subject": SUBJECT,
    "content-type": CONTENT_TYPE,
    "idempotency-key": KEY,
    "source": KEY_SOURCE,
    "traceparent": TRACEPARENT,
    "tracestate": TRACESTATE,
    "correlation_id": CORRELATION,
    "authorization": AUTHORIZATION,
}
cdef tuple _TRACING = ("traceparent", "tracestate", "correlation_id")
cdef object _loads = orjson.loads, _dumps = orjson.dumps
cdef object _SORTED = orjson.OPT_SORT_KEYS
cdef object _JSON = b"application/json", _VERSION = b"1.0"


cdef bint _flat(object value, bint inner):
    """Whether this is an object of texts, whole numbers, booleans and nulls, or (`inner`) of such objects too."""
    cdef Py_ssize_t at = 0
    cdef PyObject* name
    cdef PyObject* member
    while PyDict_Next(value, &at, &name, &member):
        kind = type(<object>member)
        if kind is str or <object>member is None or kind is int or kind is bool:
            continue
        if not (inner and kind is dict and _flat(<object>member, False)):
            return False
    return True


cdef class Reader:
    """Understands usual records. One for each thread; it remembers what neighbours share.

    Args:
        from_key: whether the record key may name the customer.
        pattern: what a customer id must match; None for the default.
        event_type: the `type` of an event.
        largest: bytes of a value.
        largest_record: with key and headers.
        longest_traced: bytes of a tracing header that is passed on.
        names: in lower case, the headers that are read.
        rules: by their names, the plain rules of the fields: `name`, `address`, `text`, `text_or_empty`, `address2`,
            `phone`, `born`, `gender`, `email`, `identifier`, `domain`, `bounds`; and of times `time` (as written) and
            `made` (milliseconds).
    """

    cdef bint _from_key
    cdef object _match, _type, _names, _bounds, _domain, _time, _made_at
    cdef object _name, _address, _plain_text, _text_or_empty, _address2, _phone, _born, _gender, _email, _patient
    cdef Py_ssize_t _largest, _largest_record, _longest_traced
    cdef long long _hour
    cdef object _first, _last

    def __init__(self, *, bint from_key, pattern, bytes event_type, largest, largest_record, longest_traced, names, rules):
        self._from_key, self._match = from_key, pattern.fullmatch if pattern is not None else None
        self._type, self._largest, self._longest_traced = event_type, largest, longest_traced
        self._largest_record = largest_record
        self._names, self._hour = frozenset(names), -1
        self._name, self._address, self._plain_text = rules["name"], rules["address"], rules["text"]
        self._text_or_empty, self._address2, self._phone = rules["text_or_empty"], rules["address2"], rules["phone"]
        self._born, self._gender, self._email = rules["born"], rules["gender"], rules["email"]
        self._patient, self._domain, self._bounds = rules["identifier"], rules["domain"], rules["bounds"]
        self._time, self._made_at = rules["time"], rules["made"]

    def request(self, record, received):
        """What this record asks for, as if anybody may; its envelope where a field is faulty; None: look closer."""
        try:
            return self._request(record, received)
        except Exception:  # a fault, or what was not foreseen: the plain rooms say which
            return None

    cdef object _request(self, record, received):
        cdef PyObject* headers[HEADERS]
        cdef PyObject* found
        cdef Py_ssize_t at
        cdef int place
        cdef bint differs
        if record.undecodable or size_of(record) > self._largest_record:
            return None
        for place in range(HEADERS):
            headers[place] = NULL
        given = <tuple?>record.headers
        for at in range(PyTuple_GET_SIZE(given)):
            pair = <tuple?><object>PyTuple_GET_ITEM(given, at)
            if PyTuple_GET_SIZE(pair) != 2:
                return None
            name = pair[0]
            found = PyDict_GetItem(_PLACES, name)
            if found is NULL:
                if name.lower() in self._names:
                    return None
                continue
            place = <object>found
            if headers[place] is not NULL:
                return None
            headers[place] = <PyObject*>PyTuple_GET_ITEM(pair, 1)
        value = record.value
        if type(value) is not bytes or not 0 < PyBytes_GET_SIZE(value) <= self._largest:
            return None
        data = _loads(value)
        if type(data) is not dict or not _flat(data, True):
            return None

        position = record.position
        subject = written = source = None
        if headers[SPECVERSION] is not NULL:
            if headers[ID] is NULL or headers[SOURCE] is NULL or headers[TYPE] is NULL:
                return None
            if headers[KEY] is not NULL or headers[KEY_SOURCE] is not NULL:
                return None
            if <object>headers[SPECVERSION] != _VERSION or <object>headers[TYPE] != self._type:
                return None
            if not _identifier(<object>headers[ID]) or not _identifier(<object>headers[SOURCE]):
                return None
            id, source = _ascii(<object>headers[ID]), _ascii(<object>headers[SOURCE])
            if (<str>source).startswith("kafka:"):
                return None
            if headers[TIME] is not NULL and <object>headers[TIME] is not None:
                if not _identifier(<object>headers[TIME]):
                    return None
                if (written := self._time(_ascii(<object>headers[TIME]))) is None:
                    return None
            if headers[SUBJECT] is not NULL and <object>headers[SUBJECT] is not None:
                if not _identifier(<object>headers[SUBJECT]):
                    return None
                subject = _ascii(<object>headers[SUBJECT])
        else:
            for place in (ID, SOURCE, TYPE, TIME, SUBJECT):
                if headers[place] is not NULL:
                    return None
            if headers[CONTENT_TYPE] is not NULL and <object>headers[CONTENT_TYPE] != _JSON:
                return None
            if "specversion" in data:
                return None
            if headers[KEY] is not NULL:
                if not _identifier(<object>headers[KEY]):
                    return None
                id = _ascii(<object>headers[KEY])
                if headers[KEY_SOURCE] is not NULL:
                    if not _identifier(<object>headers[KEY_SOURCE]):
                        return None
                    source = _ascii(<object>headers[KEY_SOURCE])
                    if (<str>source).startswith("kafka:"):
                        return None
            elif headers[KEY_SOURCE] is not NULL:
                return None
            else:
                id, source = position.id, f"kafka:{position.topic}"

        customer = data.get("customer")
        if customer is not None and type(customer) is not str:
            return None
        customer = customer or None
        if customer is not None and subject is not None and customer != subject:
            return None
        customer = customer or subject
        patient = data.get("patient")
        if patient is not None and (type(patient) is not str or (patient and customer is None)):
            return None
        key, by_key = record.key, None
        if self._from_key and key and not (<bytes?>key).startswith(b"pat_"):
            if not (<bytes>key).isascii():
                return None
            by_key = _ascii(key)
        if customer is None:
            customer = by_key
            if customer is None:
                return None
        if not _usual_customer(customer) or (self._match is not None and self._match(customer) is None):
            return None
        differs = by_key is not None and by_key != customer
        timestamp = position.timestamp
        made = received if timestamp == -1 else self._made_at(timestamp)
        try:
            fields = self._fields(data, made, timestamp)
        except Exception:
            return self._opened(record, id, source, data, subject, by_key, written, headers)

        if source is None:
            source = f"kafka:{position.topic}#{customer}"
        request = _blank(Request)
        request.position = position
        request.id = id
        request.source = source
        request.customer = customer
        request.key = openssl_sha256(f"{source}\n{id}".encode()).digest()[:16]
        canonical = _dumps(data, None, _SORTED)
        request.fingerprint = openssl_sha256(b"\x01" + (<str>customer).encode() + b"\n" + canonical).digest()
        request.effective_at = made if written is None or written > made else written
        request.stale_guarded = written is not None
        request.record = record
        request.data = fields
        request.refusal = None
        request.denial = None
        request.passed_on = self._traced(headers)
        request.key_differs = differs
        return request

    cdef object _opened(self, record, id, source, dict data, subject, by_key, written, PyObject** headers):
        """The envelope of a record, once all of it but its fields is known to be usual."""
        envelope = _blank(Envelope)
        envelope.record = record
        envelope.position = record.position
        envelope.id = id
        envelope.source = source
        envelope.source_from_customer = source is None
        envelope.named_customer = data.get("customer") or subject
        envelope.key_customer = by_key
        envelope.patient = data.get("patient") or None
        envelope.event_time = written
        envelope.replayed_letter = False
        envelope.data = data
        envelope.readable = True
        envelope.refusal = None
        envelope.passed_on = self._traced(headers)
        return envelope

    cdef object _traced(self, PyObject** headers):
        cdef int place
        if headers[TRACEPARENT] is NULL and headers[TRACESTATE] is NULL and headers[CORRELATION] is NULL:
            return ()
        kept = []
        for place in range(TRACEPARENT, CORRELATION + 1):
            if headers[place] is not NULL and <object>headers[place] is not None:
                value = <object>headers[place]
                if len(value) <= self._longest_traced:
                    kept.append((_TRACING[place - TRACEPARENT], value))
        return tuple(kept)

    cdef object _fields(self, dict data, made, timestamp):
        """The fields as they are stored. Raises at the first fault."""
        fields = _blank(PatientData)
        fields.first_name = self._named(data["firstName"])
        fields.last_name = self._named(data["lastName"])
        fields.date_of_birth = self._birth(data["dateOfBirth"], made, timestamp)
        fields.phone = self._called(data["phone"])
        fields.address = self._given(data["address"], 300, False, self._address)
        fields.city = self._given(data["city"], 100, False, self._plain_text)
        fields.state = self._given(data["state"], 100, True, self._text_or_empty)
        fields.postal_code = self._given(data["postalCode"], 100, True, self._text_or_empty)
        fields.country = self._given(data["country"], 100, False, self._plain_text)
        fields.gender = self._optional(data["gender"], 100, self._gender) if "gender" in data else UNSET
        fields.email = self._mail(data["email"]) if "email" in data else UNSET
        fields.address2 = self._optional(data["address2"], 300, self._address2) if "address2" in data else UNSET
        fields.patient = self._patient(data["patient"]) if "patient" in data else None
        return fields

    cdef object _given(self, raw, Py_ssize_t limit, bint may_be_empty, rule):
        cdef int found
        text = _text(raw, limit, &found)
        return text if text or (may_be_empty and text is not None) else rule(raw)

    cdef object _optional(self, raw, Py_ssize_t limit, rule):
        cdef int found
        if raw is None:
            return None
        text = _text(raw, limit, &found)
        return rule(raw) if text is None else text or None

    cdef object _named(self, raw):
        cdef int found = 0
        text = _text(raw, 200, &found)
        return text if text is not None and found & LETTER else self._name(raw)

    cdef object _called(self, raw):
        cdef int found = 0
        cdef Py_ssize_t digits = 0, at
        cdef const unsigned char* data
        text = _text(raw, 40, &found)
        if text is not None:
            data = <const unsigned char*>PyUnicode_DATA(text)
            for at in range(PyUnicode_GET_LENGTH(text)):
                digits += _IS[data[at]] & DIGIT != 0
        return text if digits >= 3 else self._phone(raw)

    cdef object _birth(self, raw, made, timestamp):
        cdef long long hour
        day = _day(raw)
        if day is None or timestamp < 0:
            return self._born(raw, made)
        hour = timestamp // 3_600_000
        if hour != self._hour:  # the bounds change with the hour at most
            self._first, self._last = self._bounds(made)
            self._hour = hour
        if not self._first <= day <= self._last:
            return self._born(raw, made)
        return day

    cdef object _mail(self, raw):
        """An address whose local part is plain; its domain is known to the library's memory."""
        cdef int found
        cdef const unsigned char* data
        cdef Py_ssize_t size, at, sign = 0
        cdef bint dot = True
        if raw is None:
            return None
        text = _text(raw, 254, &found)
        if not text or not PyUnicode_IS_ASCII(text):
            return self._email(raw)
        data, size = <const unsigned char*>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text)
        while sign < size and data[sign] != 0x40:
            if data[sign] == 0x2E:
                if dot:
                    return self._email(raw)
                dot = True
            elif _IS[data[sign]] & LOCAL:
                dot = False
            else:
                return self._email(raw)
            sign += 1
        if dot or sign == size:
            return self._email(raw)
        domain = PyUnicode_Substring(text, sign + 1, size)
        known = self._domain(domain)
        if known is None or sign + 1 + known[1] > 254:
            return self._email(raw)
        return text if known[0] == domain else f"{PyUnicode_Substring(text, 0, sign)}@{known[0]}"


# --- effects ---------------------------------------------------------------------------------------------------------

cdef object _CREATED = Outcome.CREATED, _UPDATED = Outcome.UPDATED, _UNCHANGED = Outcome.UNCHANGED


cdef inline int _check(row, Py_ssize_t length) except -1:
    if row is not None and not (isinstance(row, tuple) and PyTuple_GET_SIZE(row) == length):
        raise TypeError("no row")
    return 0


cdef inline object _of(object row, Py_ssize_t place):
    """A value of a row whose length is known."""
    return <object>PyTuple_GET_ITEM(row, place)


cdef inline object _kept(given, standing):
    return standing if given is UNSET else given


def effect(data, id, customer, patient, effective_at, now, tick, new_patient_id):
    """What becomes of customer and patient, and how that is called; one that needs no change stays the same object."""
    cdef Py_ssize_t at
    cdef bint same = patient is not None
    _check(customer, 12)
    _check(patient, 16)
    time = now
    if customer is not None and _of(customer, 9) >= time:
        time = _of(customer, 9) + tick
    if patient is not None and _of(patient, 14) >= time:
        time = _of(patient, 14) + tick

    phone, email = data.phone, data.email
    if customer is None:
        after = _row(
            Customer,
            (
                id, _kept(email, None), data.first_name, data.last_name, None, phone, False, "{}", time, time, None, 1,
            ),
        )  # fmt: skip
    else:
        email = _kept(email, _of(customer, 1))
        if phone == _of(customer, 5) and email == _of(customer, 1):
            after = customer
        else:
            after = _row(
                Customer,
                (
                    id, email, _of(customer, 2), _of(customer, 3), _of(customer, 4), phone, _of(customer, 6),
                    _of(customer, 7), _of(customer, 8), time, _of(customer, 10), _of(customer, 11),
                ),
            )  # fmt: skip

    fields = (
        data.first_name, data.last_name, data.date_of_birth,
        _kept(data.gender, None if patient is None else _of(patient, 5)), data.address,
        _kept(data.address2, None if patient is None else _of(patient, 7)), data.city, data.state, data.postal_code,
        data.country,
    )  # fmt: skip
    if patient is None:
        return _CREATED, after, _row(
            Patient, (new_patient_id(), id, *fields, effective_at, time, time, None)
        )
    for at in range(10):
        if _of(fields, at) != _of(patient, 2 + at):
            same = False
            break
    latest = effective_at if effective_at > _of(patient, 12) else _of(patient, 12)
    if same:
        if latest == _of(patient, 12):
            return _UNCHANGED if after is customer else _UPDATED, after, patient
        time = _of(patient, 14)
    outcome = _UNCHANGED if after is customer and time == _of(patient, 14) else _UPDATED
    return outcome, after, _row(
        Patient,
        (_of(patient, 0), id, *fields, latest, _of(patient, 13), time, None),
    )


# --- answers ---------------------------------------------------------------------------------------------------------

cdef char* _out = NULL
cdef Py_ssize_t _room = 0, _at = 0
cdef const char* _HEX = b"0123456789abcdef"


cdef int _want(Py_ssize_t more) except -1:
    global _out, _room
    cdef char* larger
    if _at + more > _room:
        larger = <char*>PyMem_Realloc(_out, 2 * (_at + more))
        if larger is NULL:
            raise MemoryError
        _out, _room = larger, 2 * (_at + more)
    return 0


cdef int _raw(const char* data, Py_ssize_t size) except -1:
    global _at
    _want(size)
    memcpy(_out + _at, data, size)
    _at += size
    return 0


cdef int _json_text(object text) except -1:
    """A text, or null, as orjson writes it."""
    global _at
    cdef const unsigned char* data
    cdef Py_ssize_t size = 0, at
    cdef unsigned char one
    cdef char* out
    if text is None:
        return _raw(b"null", 4)
    if not isinstance(text, str):
        raise TypeError
    data = <const unsigned char*>PyUnicode_AsUTF8AndSize(text, &size)
    _want(6 * size + 2)
    out = _out + _at
    out[0] = 0x22
    out += 1
    for at in range(size):
        one = data[at]
        if one >= 0x20 and one != 0x22 and one != 0x5C:
            out[0] = one
            out += 1
            continue
        out[0] = 0x5C
        if one == 0x22 or one == 0x5C:
            out[1] = one
        elif one == 0x08:
            out[1] = 0x62
        elif one == 0x09:
            out[1] = 0x74
        elif one == 0x0A:
            out[1] = 0x6E
        elif one == 0x0C:
            out[1] = 0x66
        elif one == 0x0D:
            out[1] = 0x72
        else:
            out[1] = 0x75
            out[2] = 0x30
            out[3] = 0x30
            out[4] = _HEX[one >> 4]
            out[5] = _HEX[one & 15]
            out += 4
        out += 2
    out[0] = 0x22
    _at = out + 1 - _out
    return 0


cdef int _json_date(object day) except -1:
    cdef int year = date_year(day), month = date_month(day), date_ = date_day(day)
    cdef char[12] text
    text[0] = text[11] = 0x22
    text[1], text[2] = 0x30 + year // 1000, 0x30 + year // 100 % 10
    text[3], text[4] = 0x30 + year // 10 % 10, 0x30 + year % 10
    text[5] = text[8] = 0x2D
    text[6], text[7], text[9], text[10] = 0x30 + month // 10, 0x30 + month % 10, 0x30 + date_ // 10, 0x30 + date_ % 10
    return _raw(text, 12)


cdef inline int _member(bytes name, object text) except -1:
    _raw(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
    return _json_text(text)


cdef bytes _value(outcome, request, customer, patient, created, updated, deleted):
    """The value of a 200. `created`, `updated` and `deleted` are written already: nothing of Python is called here."""
    global _at
    _at = 0
    _member(b'{"status":200,"outcome":', outcome)
    _member(b',"request":{"id":', request.id)
    _member(b',"source":', request.source)
    _member(b',"customer":', request.customer)
    _member(b'},"response":{"customer":', _of(customer, 0))
    _member(b',"email":', _of(customer, 1))
    _member(b',"first_name":', _of(customer, 2))
    _member(b',"last_name":', _of(customer, 3))
    _member(b',"billing_address_id":', _of(customer, 4))
    _member(b',"phone":', _of(customer, 5))
    if _of(customer, 6):
        _raw(b',"has_account":true', 19)
    else:
        _raw(b',"has_account":false', 20)
    _member(b',"created_at":', created)
    _member(b',"updated_at":', updated)
    _member(b',"deleted_at":', deleted)
    _raw(b',"metadata":', 12)
    metadata = (<str?>_of(customer, 7)).encode()
    _raw(PyBytes_AS_STRING(metadata), PyBytes_GET_SIZE(metadata))
    _member(b',"patient":', _of(patient, 0))
    _member(b',"firstName":', _of(patient, 2))
    _member(b',"lastName":', _of(patient, 3))
    _raw(b',"dateOfBirth":', 15)
    _json_date(<date?>_of(patient, 4))
    _member(b',"gender":', _of(patient, 5))
    _member(b',"address":', _of(patient, 6))
    _member(b',"address2":', _of(patient, 7))
    _member(b',"city":', _of(patient, 8))
    _member(b',"state":', _of(patient, 9))
    _member(b',"postalCode":', _of(patient, 10))
    _member(b',"country":', _of(patient, 11))
    _raw(b"}}", 2)
    return PyBytes_FromStringAndSize(_out, _at)


def success_value(request, outcome, customer, patient, timestamp):
    """The value of a 200, as `app.response.success_value` makes it. `timestamp` writes a time."""
    if customer is None or patient is None:
        raise TypeError("no row")
    _check(customer, 12)
    _check(patient, 16)
    updated, deleted = customer[9], customer[10]
    if patient[14] > updated:
        updated = patient[14]
    return _value(
        outcome, request, customer, patient, timestamp(customer[8]), timestamp(updated),
        timestamp(deleted) if deleted is not None else None,
    )  # fmt: skip


cdef object _dashed(const unsigned char* data):
    """16 bytes as a UUID is written."""
    cdef object text = PyUnicode_New(36, 127)
    cdef char* out = <char*>PyUnicode_DATA(text)
    cdef int at
    for at in range(16):
        if at == 4 or at == 6 or at == 8 or at == 10:
            out[0] = 0x2D
            out += 1
        out[0] = _HEX[data[at] >> 4]
        out[1] = _HEX[data[at] & 15]
        out += 2
    return text


cdef object _marked(const unsigned char* data, int version):
    """16 bytes as a UUID of this version."""
    cdef unsigned char[16] own
    memcpy(own, data, 16)
    own[6] = (own[6] & 0x0F) | (version << 4)
    own[8] = (own[8] & 0x3F) | 0x80
    return _dashed(own)


def name_uuid(bytes digest not None):
    """A UUID of version 5 of this SHA-1."""
    if PyBytes_GET_SIZE(digest) < 16:
        raise ValueError("no digest")
    return _marked(<const unsigned char*>PyBytes_AS_STRING(digest), 5)


def final(request, outcome, customer, patient, now, value, bytes namespace not None):
    """The stored answer of a request that has its effect now, and the answer to be published; both without a check."""
    source, id, record, key, name = request.source, request.id, request.record, request.key, customer[0]
    if source is None or id is None or key is None or request.fingerprint is None:
        raise ValueError("it has no identity")
    kept = _row(
        StoredAnswer,
        (key, source, id, name, record.position, request.fingerprint, outcome, value, now),
    )
    hashed = b"%b%b\n%b\n%b" % (namespace, (<str?>source).encode(), (<str?>id).encode(), value)
    given = _row(
        Answer,
        (
            record, request.position, 200, outcome, None, name, value,
            name_uuid(openssl_sha1(hashed, usedforsecurity=False).digest()), now, False, request.passed_on, False,
        ),
    )  # fmt: skip
    return kept, given


cdef bytes _entropy = b""
cdef Py_ssize_t _spent = 0


def _forget():
    """A process that is forked off must not go on with the same random bits."""
    global _entropy
    _entropy = b""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def uuid7(uint64_t milliseconds):
    """A UUID of version 7 (RFC 9562). Random bits are fetched for many at once."""
    global _entropy, _spent
    cdef unsigned char[16] data
    cdef int at
    if _spent + 10 > PyBytes_GET_SIZE(_entropy):
        _entropy, _spent = os.urandom(4090), 0
    for at in range(6):
        data[at] = (milliseconds >> (40 - 8 * at)) & 0xFF
    memcpy(data + 6, PyBytes_AS_STRING(_entropy) + _spent, 10)
    _spent += 10
    return _marked(data, 7)


# --- Kafka -----------------------------------------------------------------------------------------------------------


def to_record(str topic, partition, raw, undecodable):
    """A record of the client as ours. One whose only header has the name `undecodable` itself is one that was not decoded."""
    record = _blank(Record)
    headers = tuple(raw.headers)
    broken = PyTuple_GET_SIZE(headers) > 0 and headers[0][0] is undecodable
    record.position = _row(Position, (topic, partition, raw.offset, raw.timestamp))
    record.key = raw.key
    record.value = raw.value
    record.headers = () if broken else headers
    record.undecodable = broken
    record.broker_time = raw.timestamp_type == 1
    return record


cpdef Py_ssize_t size_of(record):
    """Bytes of key, value and headers."""
    cdef Py_ssize_t size = 0
    key, value = record.key, record.value
    if key is not None:
        size += len(key)
    if value is not None:
        size += len(value)
    for pair in record.headers:
        size += len(pair[0])
        if pair[1] is not None:
            size += len(pair[1])
    return size


cdef inline int _varint(const unsigned char** at, const unsigned char* end, long long* value) noexcept:
    """Read a number as Kafka writes them; 0 where none is."""
    cdef uint64_t read = 0
    cdef int shift = 0
    while at[0] < end and shift < 64:
        read |= <uint64_t>(at[0][0] & 0x7F) << shift
        shift += 7
        at[0] += 1
        if not at[0][-1] & 0x80:
            value[0] = <long long>(read >> 1) ^ -<long long>(read & 1)
            return 1
    return 0


def count_headers(const unsigned char[::1] body, long long count, long long last_offset, long long most):
    """How many headers the records of an unpacked batch have in all.

    -1 where they are not `count` sound records, whose offsets ascend and lie no more than `last_offset` behind the first,
    each with no more than `most` headers.
    """
    if not body.shape[0]:
        return -1 if count else 0
    cdef const unsigned char* at = &body[0]
    cdef const unsigned char* end = at + body.shape[0]
    cdef const unsigned char* last
    cdef long long number = 0, headers = 0, before = -1
    cdef int field
    while count > 0:
        count -= 1
        if not _varint(&at, end, &number) or not 0 < number <= end - at:
            return -1
        last = at + number
        at += 1
        for field in range(4):  # time, offset, key, value
            if not _varint(&at, last, &number):
                return -1
            if field == 1:
                if not before < number <= last_offset:
                    return -1
                before = number
            if field >= 2 and number > 0:
                if number > last - at:
                    return -1
                at += number
        if not _varint(&at, last, &number) or not 0 <= number <= last - at or number > most:
            return -1
        headers += number
        at = last
    return headers


def murmur2(bytes data not None):
    """The hash by which clients of Kafka place keys, as 31 bits."""
    cdef const unsigned char* at = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t left = PyBytes_GET_SIZE(data)
    cdef uint32_t m = 0x5BD1E995, k, h = 0x9747B28C ^ <uint32_t>left
    while left >= 4:
        k = at[0] | at[1] << 8 | at[2] << 16 | <uint32_t>at[3] << 24
        k *= m
        k ^= k >> 24
        k *= m
        h *= m
        h ^= k
        at += 4
        left -= 4
    if left == 3:
        h ^= <uint32_t>at[2] << 16
    if left >= 2:
        h ^= <uint32_t>at[1] << 8
    if left >= 1:
        h ^= at[0]
        h *= m
    h ^= h >> 13
    h *= m
    h ^= h >> 15
    return h & 0x7FFFFFFF
