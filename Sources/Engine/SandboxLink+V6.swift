package import CNI
import Linux
import Netlink
package import Networking
package import Plans

extension SandboxLink {
    package func addresses() throws(Failure) -> [PodAddress] {
        try onLink { socket, index throws(SystemError) in
            try socket.addresses(index: index).filter { $0.cidr.family == .v6 }.map { info in
                PodAddress(
                    cidr: info.cidr, isBeingProbed: info.isBeingProbed,
                    isUsable: !info.isTentative && !info.isDuplicate, isDuplicate: info.isDuplicate,
                    isAdvertised: info.isAdvertised)
            }
        }
    }

    package func advertisedRouters() throws(Failure) -> [IPAddress] {
        try onLink { socket, index throws(SystemError) in
            try socket.routes(family: .v6)
                .filter { $0.index == index && $0.route.isDefault && $0.isAdvertised }
                .compactMap(\.route.gateway)
        }
    }

    package func probe(_ cidr: CIDR, lifetime: Lifetime) throws(Failure) {
        try onLink { socket, index throws(SystemError) in
            try ignoring { () throws(SystemError) in
                try socket.probe(cidr, index: index, lifetime: lifetime)
            }
        }
    }

    package func remove(_ cidr: CIDR) throws(Failure) {
        try onLink { socket, index throws(SystemError) in
            try ignoring { () throws(SystemError) in try socket.remove(cidr, index: index) }
        }
    }
}
