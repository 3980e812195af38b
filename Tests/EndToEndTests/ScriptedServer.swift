/// A server of DHCP that can be told to misbehave.
enum ScriptedServer {
    static let text = #"""
        # server.py DIRECTORY LEASE: the file `ways` there has words, read for every message:
        # silent, lose (every first two DISCOVERs), nak, nakonce, nomask, noack, two (offers), late (an ACK of another server),
        # damaged (answers before the right one), noid (no option 54), ADDRESS, NUMBER=HEX (an option),
        # await=N (nothing before N clients have asked), unicast (to the address that the client does not have yet),
        # nosum (no checksum of UDP), badsum (a wrong one)
        import json, os, socket, struct, sys
        directory, lease = sys.argv[1], int(sys.argv[2])
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.setsockopt(socket.SOL_SOCKET, 25, b"br0")
        s.bind(("", 67))
        print("ready")
        kinds = {1: "DISCOVER", 3: "REQUEST", 4: "DECLINE", 7: "RELEASE"}
        given, discovers, naks, declined, clients = {}, 0, 0, 0, set()
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        link.bind(("br0", 0x800))

        def options(raw):
            found, at = {}, 0
            while at < len(raw) and raw[at] != 255:
                if raw[at] == 0:
                    at += 1
                    continue
                found[raw[at]] = found.get(raw[at], b"") + raw[at + 2:at + 2 + raw[at + 1]]
                at += 2 + raw[at + 1]
            return found

        def answer(kind, yours, extra, server=b"\xc0\x00\x02\x01"):
            chosen = {53: bytes([kind])}
            if "noid" not in ways: chosen[54] = server
            if kind != 6:
                chosen.update({51: struct.pack(">I", lease), 1: b"\xff\xff\xff\x00", 3: b"\xc0\x00\x02\x01"})
                for way in ways:
                    if way[0].isdigit() and "=" in way:
                        number, value = way.split("=")
                        chosen[int(number)] = bytes.fromhex(value)
                if "nomask" in ways: del chosen[1]
            chosen.update(extra)
            body = b"".join(bytes([n, len(v)]) + v for n, v in chosen.items()) + b"\xff"
            return (b"\x02\x01\x06\x00" + request[4:12] + b"\0" * 4 + yours + b"\0" * 8 + request[28:44]
                    + b"\0" * 192 + b"\x63\x82\x53\x63" + body)

        def checksum(data):
            data += b"\0" * (len(data) % 2)
            total = sum(struct.unpack(f">{len(data) // 2}H", data))
            while total > 0xffff: total = (total & 0xffff) + (total >> 16)
            return total ^ 0xffff

        def frame(packet):
            source, target = b"\xc0\x00\x02\x01", packet[16:20]
            udp = struct.pack(">HHHH", 67, 68, 8 + len(packet), 0) + packet
            total = checksum(source + target + b"\0\x11" + struct.pack(">H", len(udp)) + udp) or 0xffff
            if "badsum" in ways: total ^= 0x100
            if "nosum" in ways: total = 0
            udp = udp[:6] + struct.pack(">H", total) + udp[8:]
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + source + target
            head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
            return packet[28:34] + b"\2\0\0\0\0\1\x08\0" + head + udp

        def send(packet):
            if {"unicast", "nosum", "badsum"} & set(ways): link.send(frame(packet))
            else: s.sendto(packet, ("255.255.255.255", 68))

        while True:
            request, sender = s.recvfrom(4096)
            ways = open(directory + "/ways").read().split()
            got = options(request[240:])
            kind = got[53][0]
            with open(directory + "/heard", "a") as file:
                file.write(json.dumps({
                    "kind": kinds.get(kind, str(kind)), "from": sender[0], "xid": request[4:8].hex(),
                    "flags": request[10:12].hex(), "client": socket.inet_ntoa(request[12:16]),
                    "mac": request[28:34].hex(":"), "size": len(request),
                    "options": {str(n): v.hex() for n, v in got.items()}}) + "\n")
            if kind == 4:
                declined += 1
                given[got.get(61, request[28:34])] = bytes([192, 0, 2, 130 + declined])
            if "silent" in ways or kind not in (1, 3): continue
            fixed = [w for w in ways if w.count(".") == 3]
            key = got.get(61, request[28:34])
            clients.add(key)
            if any(w.startswith("await=") and len(clients) < int(w[6:]) for w in ways): continue
            if key not in given: given[key] = bytes([192, 0, 2, 100 + len(given)])
            yours = socket.inet_aton(fixed[0]) if fixed else given[key]
            if kind == 1:
                discovers += 1
                if "lose" in ways and discovers <= 2: continue
                if "damaged" in ways:
                    good = answer(2, yours, {})
                    send(good[:200])
                    send(good[:-20])
                    send(good[:4] + b"\0\0\0\1" + good[8:])
                    send(good[:28] + b"\2\3\4\5\6\7" + good[34:])
                    send(good[:236] + b"\0\0\0\0" + good[240:])
                    send(b"\1" + good[1:])
                    send(good[:240] + b"\x35\x01\x09\xff")
                    send(good[:240])
                    send(b"")
                send(answer(2, yours, {}))
                if "two" in ways: send(answer(2, b"\xc0\x00\x02\xc8", {}, b"\xc0\x00\x02\x02"))
            elif "noack" not in ways:
                if "nak" in ways or "nakonce" in ways and naks == 0:
                    naks += 1
                    send(answer(6, b"\0" * 4, {56: b"pool moved"}))
                    continue
                if "late" in ways: send(answer(5, b"\xc0\x00\x02\xc8", {}, b"\xc0\x00\x02\x02"))
                chosen = got.get(54, b"\xc0\x00\x02\x01")
                send(answer(5, yours, {}, chosen))
        """#
}
