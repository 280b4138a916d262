"""A DNS server on loopback that knows a few records and is asked over UDP."""

import asyncio
from collections.abc import AsyncIterator
import contextlib

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class FakeDns(asyncio.DatagramProtocol):
    """Answer from {(name, type): texts}; a CNAME answers for every type."""

    def __init__(self, records: dict[tuple[str, str], list[str]]) -> None:
        self.records = records
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        transport, _protocol = await loop.create_datagram_endpoint(
            lambda: self, ("127.0.0.1", port)
        )
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]
        try:
            yield
        finally:
            transport.close()
            await asyncio.sleep(0)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        question = query.question[0]
        name = question.name.to_text()
        kind = dns.rdatatype.to_text(question.rdtype)
        for wanted in (kind, "CNAME"):
            if texts := self.records.get((name, wanted)):
                answer.answer.append(
                    dns.rrset.from_text(name, 60, "IN", wanted, *texts)
                )
                break
        else:
            if name not in {known for known, _kind in self.records}:
                answer.set_rcode(dns.rcode.NXDOMAIN)
        assert self._transport is not None
        self._transport.sendto(answer.to_wire(), addr)
