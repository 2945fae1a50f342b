"""Sends a recording to a server as fast as it plays, and prints the words as they come: client.py http://… FILE"""

import asyncio
import json
import sys

import soundfile
from websockets.asyncio.client import connect

PIECE_S = 0.1


async def main(address: str, file: str) -> None:
    samples, rate = soundfile.read(file, dtype="int16", always_2d=True)
    async with connect(address.replace("http", "ws", 1) + "/stream") as socket:
        await socket.send(json.dumps({"type": "start", "sample_rate": rate, "encoding": "int16"}))
        speaking = asyncio.create_task(speak(socket, samples[:, 0], rate))
        async for message in socket:
            event = json.loads(message)
            if event["type"] in ("partial", "final"):
                print(f"{event['decoded_s']:7.2f} s  {event['type']:7}  {event['text']}", flush=True)
            elif event["type"] == "error":
                print(event["message"], file=sys.stderr)
        await speaking


async def speak(socket, samples, rate: int) -> None:
    piece = int(PIECE_S * rate)
    for at in range(0, len(samples), piece):
        await socket.send(samples[at : at + piece].tobytes())
        await asyncio.sleep(PIECE_S)
    await socket.send('{"type": "end"}')


asyncio.run(main(*sys.argv[1:]))
