"""Calling a function: its arguments, its logs, and what becomes of its result."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from .discovery import Function

log = logging.getLogger("host")

CONTEXT = "context"
"""An argument of this name gets the context, unless a binding has the name."""


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
    def __init__(self, headers: Mapping[str, str]) -> None:
        self.trace_parent = headers.get("traceparent", "")
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
    """Runs functions: those that are coroutines on one loop of their own, as the official worker does."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="functions", daemon=True).start()

    def run(self, function: Function, reason: str, trigger: Any, headers: Mapping[str, str] | None = None) -> Any:
        """The value the function returned, or set as its HTTP output. What it raises is logged and raised again."""
        invocation = str(uuid.uuid4())
        outputs = {str(one["name"]): Out() for one in function.bindings if _is_output(one) and one["name"] != "$return"}
        arguments = self._arguments(function, trigger, outputs, Context(function, invocation, headers or {}))
        log.info("Executing 'Functions.%s' (Reason='%s', Id=%s)", function.name, reason, invocation)
        began = time.monotonic()
        try:
            result = self._call(function.call, arguments)
        except BaseException as error:
            took = (time.monotonic() - began) * 1000
            log.exception(
                "Executed 'Functions.%s' (Failed, Id=%s, Duration=%.0fms): %s",
                function.name,
                invocation,
                took,
                type(error).__name__,
            )
            raise
        took = (time.monotonic() - began) * 1000
        log.info("Executed 'Functions.%s' (Succeeded, Id=%s, Duration=%.0fms)", function.name, invocation, took)
        if result is None:
            result = next((out.value for out in outputs.values() if out.value is not None), None)
        return result

    def _call(self, call: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        if inspect.iscoroutinefunction(call):
            return asyncio.run_coroutine_threadsafe(call(**arguments), self._loop).result()
        return call(**arguments)

    @staticmethod
    def _arguments(function: Function, trigger: Any, outputs: Mapping[str, Out], context: Context) -> dict[str, Any]:
        parameters = inspect.signature(function.call).parameters
        arguments: dict[str, Any] = {str(function.trigger["name"]): trigger, **outputs}
        if CONTEXT in parameters and CONTEXT not in arguments:
            arguments[CONTEXT] = context
        return {name: value for name, value in arguments.items() if name in parameters}


def _is_output(binding: Mapping[str, Any]) -> bool:
    return str(binding.get("direction", "")).lower() == "out"
