"""Calling a function: its arguments, its logs, how long it may run, and what becomes of its result."""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any

from .discovery import CONTEXT, Function
from .logs import HOST, running

log = logging.getLogger(HOST)

RETURN = "$return"


class Failed(Exception):
    """The function did; why is in the log."""


class Context:
    """`azure.functions.Context`, by its attributes."""

    def __init__(self, function: Function, invocation_id: str, headers: Mapping[str, str]) -> None:
        self.function_name = function.name
        self.function_directory = function.folder
        self.invocation_id = invocation_id
        self.thread_local_storage = threading.local()
        self.thread_local_storage.invocation_id = invocation_id
        self.trace_context = _Trace(headers)
        self.retry_context = None


class _Trace:
    """W3C trace context: the caller's, or one that begins here."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.trace_parent = headers.get("traceparent") or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
        self.trace_state = headers.get("tracestate", "")
        self.attributes: dict[str, str] = {}


class Out:
    """`azure.functions.Out`: what the function sets is its output of that name."""

    def __init__(self) -> None:
        self.value: Any = None

    def set(self, value: Any) -> None:
        self.value = value

    def get(self) -> Any:
        return self.value


class Invoker:
    """Runs functions: those that are coroutines on one loop of their own, as the official worker does.

    Code that runs cannot be stopped. After `timeout` seconds `overrun` is called, which ends the process, as Azure
    restarts the worker of a function that runs too long.
    """

    def __init__(self, *, timeout: float | None = None, overrun: Callable[[], None] = lambda: None) -> None:
        self._timeout = timeout
        self._overrun = overrun
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="functions", daemon=True).start()

    def run(self, function: Function, reason: str, trigger: Any, headers: Mapping[str, str] | None = None) -> Any:
        """The value the function returned, or set as its HTTP output. Raises `Failed`."""
        invocation = str(uuid.uuid4())
        about = {"function": function.name}
        outputs = {str(one["name"]): Out() for one in function.bindings if _is_output(one) and one["name"] != RETURN}
        log.info("Executing 'Functions.%s' (Reason='%s', Id=%s)", function.name, reason, invocation, extra=about)
        began = time.monotonic()
        watch = self._watch(function, invocation)
        try:
            arguments = self._arguments(function, trigger, outputs, Context(function, invocation, headers or {}))
            result = _result(function, self._call(function, arguments), outputs)
        except BaseException as error:  # SystemExit too: code that wants to end the process ends its call
            took = (time.monotonic() - began) * 1000
            log.error(
                "Executed 'Functions.%s' (Failed, Id=%s, Duration=%.0fms)\n"
                "Result: Failure\nException: %s: %s\nStack: %s",
                function.name,
                invocation,
                took,
                type(error).__name__,
                error,
                "".join(traceback.format_tb(error.__traceback__)).strip("\n"),
                extra=about,
            )
            raise Failed(function.name) from error
        finally:
            if watch is not None:
                watch.cancel()
        took = (time.monotonic() - began) * 1000
        log.info(
            "Executed 'Functions.%s' (Succeeded, Id=%s, Duration=%.0fms)", function.name, invocation, took, extra=about
        )
        return result

    def _watch(self, function: Function, invocation: str) -> threading.Timer | None:
        if self._timeout is None:
            return None

        def over() -> None:
            span = timedelta(seconds=self._timeout or 0)
            log.error(
                "Timeout value of %s exceeded by function 'Functions.%s' (Id: '%s'). Initiating cancellation.",
                f"0{span}" if len(str(span)) == 7 else span,
                function.name,
                invocation,
                extra={"function": function.name},
            )
            self._overrun()

        watch = threading.Timer(self._timeout, over)
        watch.daemon = True
        watch.start()
        return watch

    def _call(self, function: Function, arguments: Mapping[str, Any]) -> Any:
        if inspect.iscoroutinefunction(function.call):
            work = _within(function.name, function.call(**arguments))
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        before = running.set(function.name)
        try:
            return function.call(**arguments)
        finally:
            running.reset(before)

    @staticmethod
    def _arguments(function: Function, trigger: Any, outputs: Mapping[str, Out], context: Context) -> dict[str, Any]:
        parameters = inspect.signature(function.call).parameters
        arguments: dict[str, Any] = {str(function.trigger["name"]): trigger, **outputs}
        if CONTEXT in parameters and CONTEXT not in arguments:
            arguments[CONTEXT] = context
        return {name: value for name, value in arguments.items() if name in parameters}


async def _within(name: str, work: Coroutine[Any, Any, Any]) -> Any:
    running.set(name)  # of this task alone
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:  # would end the loop of all functions
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def _is_output(binding: Mapping[str, Any]) -> bool:
    return str(binding.get("direction", "")).lower() == "out"


def _result(function: Function, returned: Any, outputs: Mapping[str, Out]) -> Any:
    """What goes to the caller. Raises what Azure's worker raises for a value that has nowhere to go or that no HTTP
    answer can be made of (azure-functions-python-worker, dispatcher.py and bindings/meta.py)."""
    returning = next((one for one in function.bindings if one.get("name") == RETURN), None)
    if returning is None and returned is not None:
        raise RuntimeError(f"function {function.name!r} without a $return binding returned a non-None value")
    if returning is not None and str(returning.get("type", "")).lower() == "http":
        _check_http(returned)
        return returned
    named = [str(one["name"]) for one in function.bindings if str(one.get("type", "")).lower() == "http"]
    for name in named:
        if name in outputs and (value := outputs[name].get()) is not None:
            _check_http(value)
            return value
    return None


def _check_http(value: Any) -> None:
    if not isinstance(value, str) and not (hasattr(value, "get_body") and hasattr(value, "status_code")):
        raise TypeError(
            'unable to encode outgoing TypedData: unsupported type "<class '
            "'azure.functions.http.HttpResponseConverter'>\" for Python type "
            f'"{type(value).__name__}"'
        )
