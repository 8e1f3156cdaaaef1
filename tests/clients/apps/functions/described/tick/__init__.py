import logging

import azure.functions as func
from greeting import greeting


def main(timer: func.TimerRequest) -> None:
    logging.info("the timer read: %s", greeting())
